package remote

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tandemail/tandemail/internal/mail"
)

// opening is the answer to a qOpen.
type opening struct {
	size  int64
	first []byte
}

func (d decoder) opening() opening { return opening{d.Size(), d.Rest()} }

// Open implements mail.View. The beginning comes with the answer, and of messages that
// are opened in the order of their listing the next ones come too.
func (v *view) Open(ctx context.Context, msg mail.Message) (mail.Content, error) {
	v.mu.Lock()
	r := v.ahead.take(&msg)
	next := v.ahead.opened(&msg)
	v.mu.Unlock()
	m := &content{msg: msg, again: v.again, turn: newTurn()}
	if r != nil {
		v.askAhead(next)
		if octets, err := r.await(ctx, v.c); err == nil {
			return m, m.begin(v.c, 0, octets)
		}
		next = nil
	}
	r = newReply()
	if !v.c.hold() {
		return nil, v.c.lost()
	}
	id, err := v.c.begin(ctx, qOpen{v.id, msg}, r)
	var octets []byte
	if err == nil {
		v.askAhead(next)
		octets, err = r.await(ctx, v.c)
		if err != nil && ctx.Err() != nil {
			v.c.giveUp(id)
		}
	}
	if err == nil {
		err = m.begin(v.c, id, octets)
	}
	if err != nil || !m.open {
		v.c.release()
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// OpenAll implements mail.View: opening one asks for the next.
func (v *view) OpenAll(ctx context.Context, msgs []mail.Message) []mail.Opened {
	list := make([]mail.Opened, len(msgs))
	for i := range msgs {
		list[i].Content, list[i].Err = v.Open(ctx, msgs[i])
	}
	return list
}

// askAhead asks for messages whose turn will come, as far as there are places.
func (v *view) askAhead(next []mail.Message) {
	for i := range next {
		select {
		case v.c.places <- struct{}{}:
		default:
			return
		}
		r := newReply()
		r.then = func() { <-v.c.places }
		if _, err := v.c.begin(context.Background(), qOpen{v.id, next[i]}, r); err != nil {
			return // so is the connection
		}
		v.mu.Lock()
		v.ahead.ask(&next[i], r)
		v.mu.Unlock()
	}
}

// content is a message's octets, of which it has a part and asks for the next before it
// is read. When the connection is lost it asks for the message on the next one: what
// names its octets is the same on every copy of a store, for ever.
type content struct {
	msg   mail.Message
	again *Account
	size  int64

	turn turn
	// Who has the turn.
	c      *conn
	id     uint64
	open   bool // at the master: c is held
	at     int64
	have   []byte // from at on
	nextAt int64
	next   *reply // the octets from nextAt on were asked for; nil: none were
	closed bool
}

var _ mail.Content = (*content)(nil)

// begin takes the answer to a qOpen.
func (m *content) begin(c *conn, id uint64, octets []byte) error {
	o, err := decoded(c, octets, decoder.opening)
	if err == nil && (int64(len(o.first)) > o.size || m.have != nil && o.size != m.size) {
		err = fmt.Errorf("message of %d octets begins with %d: %w", o.size, len(o.first), mail.ErrBusy)
	}
	if err != nil {
		return err
	}
	m.c, m.id, m.size, m.at, m.have, m.next = c, id, o.size, 0, o.first, nil
	m.open = int64(len(o.first)) < o.size
	if m.open && id == 0 {
		return fmt.Errorf("message has %d octets, not %d: %w", o.size, m.msg.Size, mail.ErrBusy)
	}
	return nil
}

// Size implements mail.Content.
func (m *content) Size() int64 { return m.size }

// Close implements mail.Content.
func (m *content) Close() error {
	m.turn.take()
	defer m.turn.give()
	m.closed = true
	m.letGo()
	return nil
}

func (m *content) letGo() {
	if m.open {
		m.open = false
		m.c.giveUp(m.id)
		m.c.release()
	}
}

// ReadAt implements io.ReaderAt.
func (m *content) ReadAt(p []byte, off int64) (n int, err error) {
	m.turn.take()
	defer m.turn.give()
	if off < 0 {
		return 0, fmt.Errorf("read message at %d: negative offset", off)
	}
	for n < len(p) && off < m.size {
		if off < m.at || off >= m.at+int64(len(m.have)) {
			if err := m.seek(off); err != nil {
				return n, fmt.Errorf("read message %d at %d: %w", m.msg.UID, off, err)
			}
		}
		k := copy(p[n:], m.have[off-m.at:])
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// seek has the octets at off, on another connection if need be.
func (m *content) seek(off int64) error {
	if m.closed {
		return errors.New("message is closed")
	}
	for try := 0; ; try++ {
		err := errLost
		if m.open && !m.c.dead() {
			err = m.fetch(off)
		}
		if err == nil || !passing(err) || try == readTries {
			return err
		}
		if err := m.reopen(); err != nil {
			return err
		}
		if off < int64(len(m.have)) {
			return nil
		}
	}
}

// readTries is how often a message is opened again for one read.
const readTries = 3

// fetch asks for a range, unless it was asked for, and for the next if reading goes on
// from where it was.
func (m *content) fetch(off int64) error {
	onward := off == m.at+int64(len(m.have))
	r, at := m.next, m.nextAt
	if r == nil || off < at || off >= at+rangeOctets {
		r, at = newReply(), off
		if err := m.ask(r, at); err != nil {
			return err
		}
	}
	m.next = nil
	if after := at + rangeOctets; onward && after < m.size {
		m.next, m.nextAt = newReply(), after
		if err := m.ask(m.next, after); err != nil {
			return err
		}
	}
	octets, err := r.await(context.Background(), m.c)
	if err != nil {
		return err
	}
	if int64(len(octets)) != min(rangeOctets, m.size-at) {
		m.c.f.Abort()
		return fmt.Errorf("%d octets at %d of %d: %w", len(octets), at, m.size, errLost)
	}
	m.at, m.have = at, octets
	return nil
}

func (m *content) ask(r *reply, at int64) error {
	select {
	case m.c.places <- struct{}{}:
	case <-m.c.ended:
		return m.c.lost()
	}
	r.then = func() { <-m.c.places }
	_, err := m.c.begin(context.Background(), qRead{m.id, at, rangeOctets}, r)
	return err
}

// reopen opens the message anew.
func (m *content) reopen() error {
	m.letGo()
	v, err := m.again.View(context.Background())
	if err != nil {
		return err
	}
	defer v.Close()
	c := v.(*view).c
	if !c.hold() {
		return c.lost()
	}
	octets, id, _, err := c.call(context.Background(), qOpen{v.(*view).id, m.msg})
	if err == nil {
		err = m.begin(c, id, octets)
	}
	if err != nil || !m.open {
		c.release()
	}
	return err
}
