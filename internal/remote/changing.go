package remote

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
)

// body is a message on its way in.
type body struct {
	c      *conversation
	id     uint64
	size   int64 // announced
	ctx    context.Context
	cancel context.CancelFunc
	pieces chan []byte // room for as many as the caller may send

	// Of the goroutine that reads the stream.
	left  int64
	ended bool

	done   chan struct{} // closed when the rest is set
	staged mail.Body
	err    error
}

func (*body) sort() sortOfHeld { return heldBody }

// stage begins to take in a message. What goes wrong is the outcome of the change that
// it is for.
func (c *conversation) stage(id uint64, q qStage) {
	if !c.reserve(q.Size) {
		c.fail(id, codeNotNow, errNotNow)
		return // a change that names it finds nothing
	}
	b := &body{c: c, id: id, size: q.Size, left: q.Size, pieces: make(chan []byte, pieceWindow), done: make(chan struct{})}
	b.ctx, b.cancel = context.WithCancel(c.ctx)
	if err := c.hold(id, b); err != nil {
		b.cancel()
		c.release(b.size)
		c.fail(id, codeOf(err), err)
		return
	}
	c.begin(b.run)
}

// reserve takes room for n octets; false if there is none.
func (c *conversation) reserve(n int64) bool {
	all := &c.srv.counts.staged
	if all.Add(n) > c.srv.cfg.MaxStaged {
		all.Add(-n)
		return false
	}
	c.mu.Lock()
	ok := c.staged+n <= maxStaged
	if ok {
		c.staged += n
	}
	c.mu.Unlock()
	if !ok {
		all.Add(-n)
	}
	return ok
}

func (c *conversation) release(n int64) {
	c.srv.counts.staged.Add(-n)
	c.mu.Lock()
	c.staged -= n
	c.mu.Unlock()
}

// take takes a piece off the stream, an empty one for the end.
func (b *body) take(p []byte) error {
	b.left -= int64(len(p))
	switch {
	case b.ended, b.left < 0, len(p) > pieceOctets, len(p) == 0 && b.left > 0:
		return fmt.Errorf("piece of %d octets of a message, %d are left: %w", len(p), b.left, errProtocol)
	case len(p) == 0:
		b.ended = true
		close(b.pieces)
		return nil
	}
	select {
	case b.pieces <- append([]byte(nil), p...):
		return nil
	default:
		return fmt.Errorf("more than %d pieces of a message without credit: %w", pieceWindow, errProtocol)
	}
}

// run stages what comes. After an error what still comes is thrown away.
func (b *body) run() {
	defer b.cancel()
	b.intake()
	for rest := (&pieceReader{b: b}); b.err != nil; {
		if _, err := rest.next(); err != nil {
			return
		}
	}
}

func (b *body) intake() {
	defer close(b.done)
	b.err = mail.ErrBusy // until Stage returns, which may panic
	b.staged, b.err = b.c.account.Stage(b.ctx, &pieceReader{b: b}, b.size)
}

// close implements held: gives up what was staged.
func (b *body) close() {
	b.cancel()
	<-b.done
	b.c.release(b.size)
	if b.staged != nil {
		_ = b.staged.Close() // it was only a copy
	}
}

// pieceReader reads a body as its pieces come, and has more sent.
type pieceReader struct {
	b    *body
	left []byte
}

// Read implements io.Reader.
func (r *pieceReader) Read(p []byte) (n int, err error) {
	if len(r.left) == 0 {
		if r.left, err = r.next(); err != nil {
			return 0, err
		}
	}
	n = copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

func (r *pieceReader) next() ([]byte, error) {
	select {
	case p, ok := <-r.b.pieces:
		if !ok {
			return nil, io.EOF
		}
		return p, send(r.b.ctx, r.b.c.f, credit{r.b.id, 1})
	case <-r.b.ctx.Done():
		return nil, fmt.Errorf("message was given up: %w", mail.ErrBusy)
	}
}

// takeBodies takes what a change names, which nothing else can name any more.
func (c *conversation) takeBodies(q qDo) (map[bodyRef]*body, error) {
	op, ok := q.Request.Op.(mail.Append)
	if !ok {
		return nil, nil
	}
	bodies := map[bodyRef]*body{}
	for _, m := range op.Messages {
		ref := m.Body.(bodyRef)
		if bodies[ref] != nil {
			continue
		}
		b, ok := c.find(uint64(ref)).(*body)
		if !ok {
			bodies[ref] = nil
			continue // too many were announced
		}
		if !b.ended {
			return nil, fmt.Errorf("change before the end of its message: %w", errProtocol)
		}
		c.drop(uint64(ref))
		bodies[ref] = b
	}
	return bodies, nil
}

// do makes a change. It is seen through for a while when the stream has ended, since
// its outcome will be asked for.
func (c *conversation) do(q qDo, bodies map[bodyRef]*body) ([]byte, code, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.ctx))
	defer cancel()
	defer context.AfterFunc(c.ctx, func() { time.AfterFunc(linger, cancel) })()
	defer closeBodies(bodies)
	req := q.Request
	if op, ok := req.Op.(mail.Append); ok {
		if err := stagedFor(op, bodies); err != nil {
			return coded(nil, err)
		}
	}
	res, err := c.account.As(q.As).Do(ctx, req)
	c.flushWatches()
	if err != nil {
		return nil, codeOfDo(err), err
	}
	return appendResult(nil, res), 0, nil
}

func closeBodies(bodies map[bodyRef]*body) {
	for _, b := range bodies {
		if b != nil {
			b.close()
		}
	}
}

// stagedFor puts the bodies into op once they are whole.
func stagedFor(op mail.Append, bodies map[bodyRef]*body) error {
	for i, m := range op.Messages {
		b := bodies[m.Body.(bodyRef)]
		if b == nil {
			return errNotNow
		}
		if <-b.done; b.err != nil {
			return b.err
		}
		op.Messages[i].Body = b.staged
	}
	return nil
}

// watched is a watch that a caller has.
type watched struct {
	c       *conversation
	id      uint64
	changed <-chan struct{}
	flush   chan chan struct{}
	ended   chan struct{}
	end     func()
}

func (*watched) sort() sortOfHeld { return heldWatch }

func (c *conversation) watch(id uint64, q qWatch) {
	changed, stop := c.account.Watch(q.Mailbox)
	w := &watched{c: c, id: id, changed: changed, flush: make(chan chan struct{}), ended: make(chan struct{})}
	w.end = sync.OnceFunc(func() {
		stop()
		close(w.ended)
	})
	if err := c.hold(id, w); err != nil {
		w.end()
		c.fail(id, codeOf(err), err)
		return
	}
	c.begin(w.run)
}

// close implements held.
func (w *watched) close() { w.end() }

func (w *watched) run() {
	if err := send(w.c.ctx, w.c.f, answer{ID: w.id}); err != nil {
		w.c.log.Debug("watch could not be answered", "err", err)
	}
	for {
		select {
		case <-w.changed:
			w.signal()
		case flushed := <-w.flush:
			select {
			case <-w.changed:
				w.signal()
			default:
			}
			close(flushed)
		case <-w.ended:
			return
		}
	}
}

func (w *watched) signal() {
	if err := send(w.c.ctx, w.c.f, signal{w.id}); err != nil {
		w.c.log.Debug("watch could not be signalled", "err", err)
	}
}

// flushWatches has the signals of what has happened leave before what is sent next: who
// makes a change knows by its answer that it has seen them.
func (c *conversation) flushWatches() {
	c.mu.Lock()
	var all []*watched
	for _, h := range c.held {
		if w, ok := h.(*watched); ok {
			all = append(all, w)
		}
	}
	c.mu.Unlock()
	for _, w := range all {
		flushed := make(chan struct{})
		select {
		case w.flush <- flushed:
			<-flushed
		case <-w.ended:
		}
	}
}
