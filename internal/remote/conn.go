package remote

import (
	"fmt"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/route"
)

// errLost: the connection ended, or the master fell silent. Also mail.ErrBusy; of a
// change that was sent that is not the whole truth.
var errLost = fmt.Errorf("connection to the account's master was lost: %w", mail.ErrBusy)

// conn is a stream to the master of an account. One goroutine reads and never waits
// for those who asked.
type conn struct {
	f  *link.Frames
	to route.Route

	places chan struct{} // of asks under way
	asking turn          // ids leave in their order
	ended  chan struct{} // closed when nothing comes any more
	why    error         // of that

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]waiter
	users   int         // who has something open here
	idle    *time.Timer // runs while there are none
	retired bool        // it has lain idle and is being closed
}

// waiter is who waits for frames with an id. The reader calls it; it does not block.
type waiter interface {
	// take takes a frame; done: it was the last for this id. An error ends the stream.
	take(f frame) (done bool, err error)
}

func newConn(f *link.Frames, to route.Route) *conn {
	c := &conn{
		f: f, to: to, places: make(chan struct{}, maxAsks), asking: newTurn(), ended: make(chan struct{}), waiting: map[uint64]waiter{},
	}
	c.idle = time.AfterFunc(connIdle, c.retire)
	return c
}

// retire closes the connection unless somebody has begun to use it.
func (c *conn) retire() {
	c.mu.Lock()
	c.retired = c.users == 0
	retired := c.retired
	c.mu.Unlock()
	if retired {
		_ = c.f.Close()
	}
}

// run reads until the stream ends.
func (c *conn) run() {
	for c.why == nil {
		c.why = c.next()
	}
	c.f.Abort()
	c.idle.Stop()
	close(c.ended)
}

func (c *conn) next() error {
	if err := c.f.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return err
	}
	f, err := receive(c.f)
	if err != nil {
		return err
	}
	switch f := f.(type) {
	case answer:
		return c.deliver(f.ID, f)
	case batch:
		return c.deliver(f.ID, f)
	case failed:
		return c.deliver(f.ID, f)
	case signal:
		return c.deliver(f.ID, f)
	case credit:
		return c.deliver(f.ID, f)
	case refused:
		return errorOf(f.Code, f.Text)
	case alive:
		return nil
	}
	return fmt.Errorf("frame %T of a master: %w", f, errProtocol)
}

// deliver gives a frame to who waits for it. Who has given up is not there.
func (c *conn) deliver(id uint64, f frame) error {
	c.mu.Lock()
	w := c.waiting[id]
	c.mu.Unlock()
	if w == nil {
		return nil
	}
	done, err := w.take(f)
	if done {
		c.forget(id)
	}
	return err
}

func (c *conn) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// lost is the error for who finds the stream ended.
func (c *conn) lost() error {
	<-c.ended
	return fmt.Errorf("%w: %v", errLost, c.why) // what ended the stream says nothing of who asked
}

// dead reports whether the stream has ended.
func (c *conn) dead() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// hold notes that somebody has something open here, so that the connection stays; each
// is followed by one release. False: it was too late.
func (c *conn) hold() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired {
		return false
	}
	if c.users++; c.users == 1 {
		c.idle.Stop()
	}
	return true
}

func (c *conn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users--; c.users == 0 && !c.dead() {
		c.idle.Reset(connIdle)
	}
}
