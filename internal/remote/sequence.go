package remote

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/tandemail/tandemail/internal/fields"
	"github.com/tandemail/tandemail/internal/mail"
)

// sequence is one that a caller reads in batches, of which it says how many it takes.
type sequence struct {
	id      uint64
	credits chan struct{} // one for each batch that may be sent
	ctx     context.Context
	cancel  context.CancelFunc
}

func (*sequence) sort() sortOfHeld { return heldSequence }

// close implements held.
func (q *sequence) close() { q.cancel() }

// grant lets n batches more be sent. Never are there more than the window.
func (q *sequence) grant(n uint32) error {
	for range min(n, batchWindow+1) {
		select {
		case q.credits <- struct{}{}:
		default:
			return fmt.Errorf("credit of more than %d batches: %w", batchWindow, errProtocol)
		}
	}
	return nil
}

// sequenceOf begins to answer with a sequence; false if the question is for no such.
func (c *conversation) sequenceOf(id uint64, q question) bool {
	switch q := q.(type) {
	case qMailboxes:
		sendSequence(c, id, q.View, mail.View.Mailboxes, appendMailbox)
	case qSubscriptions:
		sendSequence(c, id, q.View, mail.View.Subscriptions, fields.AppendString[string])
	case qFlags:
		sendSequence(c, id, q.View, func(v mail.View) iter.Seq2[mail.MessageFlags, error] {
			return v.Flags(q.Mailbox, q.Lo, q.Hi, q.Since)
		}, appendFlags)
	case qMessages:
		sendSequence(c, id, q.View, func(v mail.View) iter.Seq2[mail.Message, error] {
			return v.Messages(q.Mailbox, q.Lo, q.Hi)
		}, appendMessage)
	case qExpunged:
		sendSequence(c, id, q.View, func(v mail.View) iter.Seq2[mail.Tombstone, error] {
			return v.Expunged(q.Mailbox, q.Since)
		}, appendTombstone)
	case qChanged:
		sendSequence(c, id, q.View, func(v mail.View) iter.Seq2[mail.MailboxInfo, error] {
			return v.Changed(q.Since)
		}, appendMailbox)
	case qEvents:
		sendSequence(c, id, q.View, func(v mail.View) iter.Seq2[mail.Event, error] {
			return v.Events(q.Since)
		}, appendEvent)
	case qMetadata:
		sendSequence(c, id, q.View, func(v mail.View) iter.Seq2[mail.Metadata, error] {
			return v.Metadata(q.Mailbox, q.Prefix)
		}, appendMetadata)
	default:
		return false
	}
	return true
}

// sendSequence sends what a View yields. The View is locked while the sequence moves on
// and free while that waits, so that a caller may ask it other things meanwhile.
func sendSequence[T any](c *conversation, id, view uint64, of func(mail.View) iter.Seq2[T, error], add func([]byte, T) []byte) {
	o, ok := c.find(view).(*openView)
	if !ok {
		c.srv.counts.count(codeClosed, errClosed)
		c.fail(id, codeClosed, errClosed)
		return
	}
	q := &sequence{id: id, credits: make(chan struct{}, batchWindow)}
	q.ctx, q.cancel = context.WithCancel(o.ctx)
	for range batchWindow {
		q.credits <- struct{}{}
	}
	if err := c.hold(id, q); err != nil {
		q.cancel()
		c.srv.counts.count(codeNotNow, err)
		c.fail(id, codeNotNow, err)
		return
	}
	c.begin(func() {
		defer q.cancel()
		rest, err := eachBatch(o, q, of, add)
		if err == nil {
			err = q.send(c, rest, true)
		} else if len(rest) > 0 {
			_ = q.send(c, rest, false) // what follows tells
		}
		code := codeOf(err)
		if c.drop(id) == nil {
			return // given up: nobody waits for its end
		}
		c.srv.counts.count(code, err)
		if err != nil {
			c.fail(id, code, err)
		}
	})
}

// eachBatch sends all batches but the last, whose octets it returns; with an error those
// from before it.
func eachBatch[T any](o *openView, q *sequence, of func(mail.View) iter.Seq2[T, error], add func([]byte, T) []byte) (b []byte, err error) {
	o.turn.take()
	defer o.turn.give()
	if o.gone {
		return nil, errClosed
	}
	o.going++
	defer func() {
		o.going--
		o.used = time.Now()
		o.shut()
	}()
	o.used = time.Now()
	for item, err := range of(o.v) {
		if err != nil {
			return b, err
		}
		had := len(b)
		if b = add(b, item); len(b) < batchOctets {
			continue
		}
		if had > 0 && len(b) > maxFrame/2 { // one that is large goes alone
			b, err = q.flush(o, b[:had], append([]byte(nil), b[had:]...))
		} else {
			b, err = q.flush(o, b, b[:0])
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

// flush sends a batch with the View free, and goes on with rest.
func (q *sequence) flush(o *openView, b, rest []byte) ([]byte, error) {
	o.used = time.Now()
	o.turn.give()
	defer o.turn.take()
	if err := q.send(o.c, b, false); err != nil {
		return nil, err
	}
	return rest, nil
}

// send sends a batch when there is credit for it. The end costs none: a caller has room
// for it always.
func (q *sequence) send(c *conversation, b []byte, last bool) error {
	if !last {
		select {
		case <-q.credits:
		case <-q.ctx.Done():
			return errClosed
		}
	}
	if q.ctx.Err() != nil {
		return errClosed
	}
	return send(c.ctx, c.f, batch{q.id, last, b})
}
