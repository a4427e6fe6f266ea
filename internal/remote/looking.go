package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tandemail/tandemail/internal/fields"
	"github.com/tandemail/tandemail/internal/mail"
)

// openView is a View that a caller has open. It is closed when nobody asks it anything
// for a while, and when it gets old: it pins disk space.
type openView struct {
	c   *conversation
	id  uint64
	end time.Time // of its life

	ctx    context.Context // ends when it is closed
	cancel context.CancelFunc

	turn  turn // one looks at a time, as mail.View wants it
	timer *time.Timer
	v     mail.View // nil: closed
	used  time.Time
	going int  // sequences that are under way
	gone  bool // to be closed when none is any more
}

func (*openView) sort() sortOfHeld { return heldView }

// view opens one.
func (c *conversation) view(id uint64, q qView) ([]byte, error) {
	if c.srv.counts.views.Add(1) > int64(c.srv.cfg.MaxViews) {
		c.srv.counts.views.Add(-1)
		return nil, errNotNow
	}
	o := &openView{c: c, id: id, turn: newTurn(), end: time.Now().Add(viewLife), used: time.Now()}
	o.ctx, o.cancel = context.WithCancel(c.ctx)
	v, err := c.account.As(q.As).View(o.ctx)
	if err != nil {
		o.cancel()
		c.srv.counts.views.Add(-1)
		return nil, err
	}
	o.turn.take()
	o.v = v
	o.timer = time.AfterFunc(viewIdle, o.expire)
	o.turn.give()
	info, err := v.Account()
	if err == nil {
		err = c.hold(id, o)
	}
	if err != nil {
		o.close()
		return nil, err
	}
	return appendAccount(nil, info), nil
}

// close implements held.
func (o *openView) close() {
	o.cancel() // sequences that wait for credit go
	o.turn.take()
	defer o.turn.give()
	o.timer.Stop()
	o.gone = true
	o.shut()
}

// shut closes it if it is time. Called with the turn.
func (o *openView) shut() {
	if o.gone && o.going == 0 && o.v != nil {
		o.v.Close()
		o.v = nil
		o.c.srv.counts.views.Add(-1)
	}
}

// expire closes it if its time has come.
func (o *openView) expire() {
	o.turn.take()
	defer o.turn.give()
	now := time.Now()
	if left := min(o.used.Add(viewIdle).Sub(now), o.end.Sub(now)); left > 0 {
		o.timer.Reset(left)
		return
	}
	o.c.stop(o.id) // closes it beside us
}

// ofView asks a View.
func (c *conversation) ofView(id uint64, f func(mail.View) ([]byte, error)) ([]byte, error) {
	o, ok := c.find(id).(*openView)
	if !ok {
		return nil, errClosed
	}
	o.turn.take()
	defer o.turn.give()
	if o.gone {
		return nil, errClosed
	}
	o.used = time.Now()
	b, err := f(o.v)
	o.used = time.Now()
	if err != nil {
		return nil, err
	}
	return b, nil
}

// openContent is the content of a message that a caller reads piece by piece.
type openContent struct {
	mail.Content
	c     *conversation
	id    uint64
	timer *time.Timer // nil: all of it went with the answer
	turn  turn
	gone  bool
}

func (*openContent) sort() sortOfHeld { return heldContent }

// open opens a content and gives its beginning.
func (c *conversation) open(id uint64, q qOpen) ([]byte, code, error) {
	var content mail.Content
	_, err := c.ofView(q.View, func(v mail.View) (_ []byte, err error) {
		content, err = v.Open(c.ctx, q.Message)
		return nil, err
	})
	if err != nil {
		return coded(nil, err)
	}
	size := content.Size()
	o := &openContent{Content: content, c: c, id: id, turn: newTurn()}
	b, err := o.from(fields.AppendUint(nil, uint64(size)), 0, min(size, firstOctets))
	if err == nil && size > firstOctets {
		o.timer = time.AfterFunc(contentIdle, func() { c.stop(id) })
		err = c.hold(id, o)
	}
	if err != nil || size <= firstOctets {
		o.close()
	}
	return coded(b, err)
}

// from appends n octets from a place on; they are there.
func (o *openContent) from(b []byte, off, n int64) ([]byte, error) {
	at := len(b)
	b = append(b, make([]byte, n)...)
	if got, err := o.ReadAt(b[at:], off); int64(got) < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read message at %d: %w", off, err)
	}
	return b, nil
}

// read answers a qRead: what there is from a place on.
func (c *conversation) read(q qRead) ([]byte, error) {
	o, ok := c.find(q.Content).(*openContent)
	if !ok {
		return nil, errClosed
	}
	o.turn.take()
	defer o.turn.give()
	if o.gone {
		return nil, errClosed
	}
	o.timer.Reset(contentIdle)
	return o.from(nil, q.Offset, max(0, min(int64(q.Length), o.Size()-q.Offset)))
}

// close implements held.
func (o *openContent) close() {
	if o.timer != nil {
		o.timer.Stop()
	}
	o.turn.take()
	defer o.turn.give()
	o.gone = true
	if err := o.Content.Close(); err != nil {
		o.c.log.Debug("content of a message did not close in order", "err", err)
	}
}
