package remote

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/fields"
	"github.com/tandemail/tandemail/internal/host"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/mail"
)

// conversation is one stream at the master. One goroutine reads and never waits for an
// account or a peer; each ask is answered by a goroutine of its own.
type conversation struct {
	srv     *Server
	log     *slog.Logger
	slot    host.Slot
	epoch   cluster.Epoch
	account mail.Account
	f       *link.Frames

	ctx  context.Context // of what is held; ends with the stream
	work sync.WaitGroup  // of all goroutines

	mu     sync.Mutex
	last   uint64          // id
	asks   int             // being answered
	held   map[uint64]held // what ids name
	counts [kindsOfHeld]int
	staged int64 // octets that bodies announced
}

// held is what an id names at the master.
type held interface {
	sort() sortOfHeld
	// close lets it go. Once, without the conversation's lock; it may wait for what
	// is going on with it.
	close()
}

type sortOfHeld int

const (
	heldView sortOfHeld = iota
	heldSequence
	heldContent
	heldBody
	heldWatch
	kindsOfHeld
)

// maxHeld is how many of a sort a stream may have.
var maxHeld = [kindsOfHeld]int{
	heldView: maxViews, heldSequence: maxSequences, heldContent: maxContents, heldBody: maxBodies, heldWatch: maxWatches,
}

// serve talks until the stream ends, and says why.
func (c *conversation) serve(ctx context.Context, f *link.Frames) error {
	ctx, cancel := context.WithCancel(ctx)
	c.f, c.ctx, c.held = f, ctx, map[uint64]held{}
	unblock := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer unblock()
	defer c.work.Wait()
	defer c.closeAll()
	defer cancel()
	if err := send(ctx, f, opened{c.epoch}); err != nil {
		return err
	}
	c.work.Go(func() { c.beat(ctx) })
	for {
		fr, err := receive(f)
		if err == nil {
			err = c.take(fr)
		}
		if err != nil {
			return err
		}
	}
}

// take handles one frame. An error ends the stream.
func (c *conversation) take(fr frame) error {
	switch fr := fr.(type) {
	case ask:
		if err := c.next(fr); err != nil {
			return err
		}
		return c.ask(fr)
	case more:
		if q, ok := c.find(fr.ID).(*sequence); ok {
			return q.grant(fr.N)
		}
		return nil // the sequence has ended
	case stop:
		c.stop(fr.ID)
		return nil
	case data:
		b, ok := c.find(fr.ID).(*body)
		if !ok {
			return nil // it was given up
		}
		return b.take(fr.Octets)
	}
	return fmt.Errorf("frame %T of a caller: %w", fr, errProtocol)
}

// next checks that ids rise: none means two things. What nobody will speak of again has
// none.
func (c *conversation) next(a ask) error {
	switch a.Question.(type) {
	case qSetRecent, qSetDerived:
		if a.ID != 0 {
			return fmt.Errorf("id %d of a question without: %w", a.ID, errProtocol)
		}
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.ID <= c.last {
		return fmt.Errorf("id %d after %d: %w", a.ID, c.last, errProtocol)
	}
	c.last = a.ID
	return nil
}

// ask begins to answer a question. What must keep its place among the frames is done
// before ask returns.
func (c *conversation) ask(a ask) error {
	switch q := a.Question.(type) {
	case qStage:
		c.stage(a.ID, q)
	case qWatch:
		c.watch(a.ID, q)
	case qSetRecent:
		c.account.SetRecent(q.Mailbox, q.User, q.UpTo)
	case qSetDerived:
		c.account.SetDerived(q.ID, q.Version, append([]byte(nil), q.Data...))
	case qDo:
		bodies, err := c.takeBodies(q)
		if err != nil {
			return err
		}
		if !c.answer(a.ID, func() ([]byte, code, error) { return c.do(q, bodies) }) {
			c.begin(func() { closeBodies(bodies) })
		}
	case qOpen:
		q.Message.Prefix = append([]byte(nil), q.Message.Prefix...)
		c.answer(a.ID, func() ([]byte, code, error) { return c.open(a.ID, q) })
	default:
		if c.sequenceOf(a.ID, q) {
			return nil
		}
		c.answer(a.ID, func() ([]byte, code, error) { return coded(c.simple(a.ID, q)) })
	}
	return nil
}

// coded gives an error its code.
func coded(b []byte, err error) ([]byte, code, error) {
	if err != nil {
		return nil, codeOf(err), err
	}
	return b, 0, nil
}

// answer answers an ask with what f returns, if not too many are being answered.
func (c *conversation) answer(id uint64, f func() ([]byte, code, error)) bool {
	c.mu.Lock()
	full := c.asks >= maxAsks
	if !full {
		c.asks++
	}
	c.mu.Unlock()
	if full {
		c.fail(id, codeNotNow, errNotNow)
		return false
	}
	c.begin(func() {
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.asks--
		}()
		b, code, err := f()
		c.srv.counts.count(code, err)
		if err != nil {
			c.fail(id, code, err)
			return
		}
		if err := send(c.ctx, c.f, answer{id, b}); err != nil {
			c.fail(id, codeOf(err), err)
		}
	})
	return true
}

// begin runs f beside the reader. A panic ends the stream.
func (c *conversation) begin(f func()) {
	c.work.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				c.srv.counts.panics.Add(1)
				c.log.Error("panic in an account stream", "err", p, "stack", string(debug.Stack()))
				c.f.Abort()
			}
		}()
		f()
	})
}

// fail answers an ask, or ends what it began, with an error.
func (c *conversation) fail(id uint64, code code, err error) {
	if code == codeOther {
		c.log.Warn("question about an account failed", "err", err)
	}
	if err := send(c.ctx, c.f, failed{id, code, err.Error()}); err != nil {
		c.log.Debug("answer could not be sent", "err", err)
	}
}

// simple answers what needs no more than a word.
func (c *conversation) simple(id uint64, q question) ([]byte, error) {
	switch q := q.(type) {
	case qView:
		return c.view(id, q)
	case qRead:
		return c.read(q)
	case qDerived:
		var b []byte
		for _, data := range c.account.Derived(q.Version, q.IDs...) {
			ok := data != nil && len(b)+len(data) < maxFrame/2
			if !ok {
				data = nil
			}
			b = fields.AppendString(fields.AppendBool(b, ok), data)
		}
		return b, nil
	case qLookup:
		return c.ofView(q.View, func(v mail.View) ([]byte, error) {
			m, err := v.Lookup(q.Name)
			return appendMailbox(nil, m), err
		})
	case qMailbox:
		return c.ofView(q.View, func(v mail.View) ([]byte, error) {
			m, err := v.Mailbox(q.Mailbox)
			return appendMailbox(nil, m), err
		})
	case qMessage:
		return c.ofView(q.View, func(v mail.View) ([]byte, error) {
			m, err := v.Message(q.Mailbox, q.UID)
			return appendMessage(nil, m), err
		})
	case qACL:
		return c.ofView(q.View, func(v mail.View) (b []byte, err error) {
			list, err := v.ACL(q.Mailbox)
			for _, g := range list {
				b = appendGrant(b, g)
			}
			return b, err
		})
	case qAccessKey:
		return c.ofView(q.View, func(v mail.View) ([]byte, error) { return v.AccessKey(q.Mailbox) })
	case qRecent:
		return c.ofView(q.View, func(v mail.View) ([]byte, error) {
			uid, err := v.Recent(q.Mailbox, q.User)
			return fields.AppendUint(nil, uid), err
		})
	}
	return nil, fmt.Errorf("question %T has no answer: %w", q, errProtocol)
}

// hold lets id name h. errNotNow: there are too many of its sort, or the stream has ended.
func (c *conversation) hold(id uint64, h held) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil || c.counts[h.sort()] >= maxHeld[h.sort()] {
		return errNotNow
	}
	c.counts[h.sort()]++
	c.held[id] = h
	return nil
}

func (c *conversation) find(id uint64) held {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[id]
}

// drop takes id's meaning away; nil if it has none. The caller closes what it had.
func (c *conversation) drop(id uint64) held {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.held[id]
	if h != nil {
		delete(c.held, id)
		c.counts[h.sort()]--
	}
	return h
}

// stop lets go of what id names. Timers call it too, until closeAll has been.
func (c *conversation) stop(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.held[id]; h != nil {
		delete(c.held, id)
		c.counts[h.sort()]--
		c.begin(h.close)
	}
}

// closeAll lets go of everything when the stream has ended.
func (c *conversation) closeAll() {
	c.mu.Lock()
	all := c.held
	c.held = nil
	c.mu.Unlock()
	for _, h := range all {
		c.begin(h.close)
	}
}
