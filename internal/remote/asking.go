package remote

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/fields"
	"github.com/tandemail/tandemail/internal/mail"
)

// begin asks, and has w get what comes for the id; nil: nothing does. An error means
// that nothing was asked: mail.ErrBusy, or mail.ErrLimit for a question that is too large.
func (c *conn) begin(ctx context.Context, q question, w waiter) (id uint64, err error) {
	select {
	case c.asking <- struct{}{}:
		defer c.asking.give()
	case <-ctx.Done():
		return 0, fmt.Errorf("ask the account's master: %w: %w", mail.ErrBusy, context.Cause(ctx))
	case <-c.ended:
		return 0, c.lost()
	}
	c.mu.Lock()
	c.last++
	id = c.last
	if w != nil {
		c.waiting[id] = w
	}
	c.mu.Unlock()
	if err = send(ctx, c.f, ask{id, q}); err == nil {
		return id, nil
	}
	c.forget(id)
	switch {
	case errors.Is(err, mail.ErrLimit):
		return 0, err
	case ctx.Err() != nil:
		return 0, fmt.Errorf("ask the account's master: %w: %w", mail.ErrBusy, err)
	}
	c.f.Abort()
	return 0, c.lost()
}

// tell sends what nobody waits for. It is lost with the connection.
func (c *conn) tell(f frame) {
	if send(context.Background(), c.f, f) != nil {
		c.f.Abort() // the reader ends it for all
	}
}

// giveUp lets go of what an id names at the master.
func (c *conn) giveUp(id uint64) {
	c.forget(id)
	if !c.dead() {
		c.tell(stop{id})
	}
}

// reply is the answer to one ask.
type reply struct {
	done   chan struct{}
	octets []byte
	err    error
	then   func() // called when it has come, if there is one
}

func newReply() *reply { return &reply{done: make(chan struct{})} }

// take implements waiter.
func (r *reply) take(f frame) (bool, error) {
	switch f := f.(type) {
	case answer:
		r.octets = append([]byte{}, f.Octets...)
	case failed:
		r.err = errorOf(f.Code, f.Text)
	default:
		return true, fmt.Errorf("frame %T as an answer: %w", f, errProtocol)
	}
	if close(r.done); r.then != nil {
		r.then()
	}
	return true, nil
}

// await returns the answer. After ctx, asked: the answer may come yet.
func (r *reply) await(ctx context.Context, c *conn) ([]byte, error) {
	select {
	case <-r.done:
		return r.octets, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the account's master: %w: %w", mail.ErrBusy, context.Cause(ctx))
	case <-c.ended:
	}
	select {
	case <-r.done: // it was the last that came
		return r.octets, r.err
	default:
		return nil, c.lost()
	}
}

// call asks and waits for the answer. sent: the question may have reached the master.
func (c *conn) call(ctx context.Context, q question) (octets []byte, id uint64, sent bool, err error) {
	select {
	case c.places <- struct{}{}:
		defer func() { <-c.places }()
	case <-ctx.Done():
		return nil, 0, false, fmt.Errorf("too many questions are under way: %w: %w", mail.ErrBusy, context.Cause(ctx))
	case <-c.ended:
		return nil, 0, false, c.lost()
	}
	r := newReply()
	if id, err = c.begin(ctx, q, r); err != nil {
		return nil, 0, false, err
	}
	if octets, err = r.await(ctx, c); err != nil && ctx.Err() != nil {
		c.giveUp(id)
	}
	return octets, id, true, err
}

// decoded reads an answer whole. What cannot be read ends the connection.
func decoded[T any](c *conn, octets []byte, take func(decoder) T) (v T, err error) {
	d := decoder{fields.NewDecoder(octets)}
	v = take(d)
	if err := d.End("answer"); err != nil {
		c.f.Abort()
		return v, fmt.Errorf("%w: %w", err, mail.ErrBusy)
	}
	return v, nil
}
