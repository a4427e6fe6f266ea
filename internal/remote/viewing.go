package remote

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/tandemail/tandemail/internal/mail"
)

// view is a mail.View at the master.
type view struct {
	c     *conn
	id    uint64
	info  mail.AccountInfo
	again *Account // to open what outlives the connection

	mu     sync.Mutex
	closed bool
	ahead  ahead
}

var _ mail.View = (*view)(nil)

// Close implements mail.View.
func (v *view) Close() {
	v.mu.Lock()
	was := v.closed
	v.closed = true
	v.mu.Unlock()
	if !was {
		v.c.giveUp(v.id)
		v.c.release()
	}
}

// Account implements mail.View.
func (v *view) Account() (mail.AccountInfo, error) { return v.info, nil }

// asked asks one question.
func asked[T any](v *view, q question, take func(decoder) T) (T, error) {
	octets, _, _, err := v.c.call(context.Background(), q)
	if err != nil {
		var none T
		return none, err
	}
	return decoded(v.c, octets, take)
}

// Lookup implements mail.View.
func (v *view) Lookup(name string) (mail.MailboxInfo, error) {
	return asked(v, qLookup{v.id, name}, decoder.mailbox)
}

// Mailbox implements mail.View.
func (v *view) Mailbox(id mail.MailboxID) (mail.MailboxInfo, error) {
	return asked(v, qMailbox{v.id, id}, decoder.mailbox)
}

// Message implements mail.View.
func (v *view) Message(m mail.MailboxID, uid mail.UID) (mail.Message, error) {
	return asked(v, qMessage{v.id, m, uid}, func(d decoder) mail.Message { return d.message(m) })
}

// ACL implements mail.View.
func (v *view) ACL(m mail.MailboxID) ([]mail.Grant, error) {
	return asked(v, qACL{v.id, m}, func(d decoder) (list []mail.Grant) {
		for d.More() {
			list = append(list, d.grant())
		}
		return list
	})
}

// AccessKey implements mail.View.
func (v *view) AccessKey(m mail.MailboxID) ([]byte, error) {
	return asked(v, qAccessKey{v.id, m}, func(d decoder) []byte {
		if !d.More() {
			return nil
		}
		return append([]byte(nil), d.Take(mail.AccessKeySize)...)
	})
}

// Recent implements mail.View.
func (v *view) Recent(m mail.MailboxID, user string) (mail.UID, error) {
	return asked(v, qRecent{v.id, m, user}, decoder.uid)
}

// Mailboxes implements mail.View.
func (v *view) Mailboxes() iter.Seq2[mail.MailboxInfo, error] {
	return sequenced(v, qMailboxes{v.id}, decoder.mailbox, nil)
}

// Subscriptions implements mail.View.
func (v *view) Subscriptions() iter.Seq2[string, error] {
	return sequenced(v, qSubscriptions{v.id}, func(d decoder) string { return d.String(maxFrame) }, nil)
}

// Flags implements mail.View.
func (v *view) Flags(m mail.MailboxID, lo, hi mail.UID, since mail.ModSeq) iter.Seq2[mail.MessageFlags, error] {
	return sequenced(v, qFlags{v.id, m, lo, hi, since}, decoder.flags, nil)
}

// Messages implements mail.View.
func (v *view) Messages(m mail.MailboxID, lo, hi mail.UID) iter.Seq2[mail.Message, error] {
	return sequenced(v, qMessages{v.id, m, lo, hi}, func(d decoder) mail.Message { return d.message(m) }, v.noteMessages)
}

// noteMessages remembers what will probably be asked for next.
func (v *view) noteMessages(list []mail.Message) {
	v.again.derived.note(list)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ahead.note(list)
}

// Expunged implements mail.View.
func (v *view) Expunged(m mail.MailboxID, since mail.ModSeq) iter.Seq2[mail.Tombstone, error] {
	return sequenced(v, qExpunged{v.id, m, since}, decoder.tombstone, nil)
}

// Changed implements mail.View.
func (v *view) Changed(since mail.ModSeq) iter.Seq2[mail.MailboxInfo, error] {
	return sequenced(v, qChanged{v.id, since}, decoder.mailbox, nil)
}

// Events implements mail.View.
func (v *view) Events(since mail.ModSeq) iter.Seq2[mail.Event, error] {
	return sequenced(v, qEvents{v.id, since}, decoder.event, nil)
}

// Metadata implements mail.View.
func (v *view) Metadata(m mail.MailboxID, prefix string) iter.Seq2[mail.Metadata, error] {
	return sequenced(v, qMetadata{v.id, m, prefix}, decoder.metadata, nil)
}

// batches are those of a sequence that have come. There is room for what the master may
// send, and for the end.
type batches chan frame

// take implements waiter.
func (b batches) take(f frame) (bool, error) {
	last := true
	switch g := f.(type) {
	case batch:
		g.Octets = append([]byte(nil), g.Octets...)
		f, last = g, g.Last
	case failed:
	default:
		return true, fmt.Errorf("frame %T in a sequence: %w", f, errProtocol)
	}
	select {
	case b <- f:
		return last, nil
	default:
		return true, fmt.Errorf("more than %d batches without credit: %w", batchWindow, errProtocol)
	}
}

// next waits for a batch.
func (b batches) next(c *conn) (batch, error) {
	var f frame
	select {
	case f = <-b:
	case <-c.ended:
		select {
		case f = <-b: // it came before the end
		default:
			return batch{}, c.lost()
		}
	}
	if e, ok := f.(failed); ok {
		return batch{}, errorOf(e.Code, e.Text)
	}
	return f.(batch), nil
}

// sequenced asks for a sequence each time it is ranged over. note sees each batch before
// its items are yielded.
func sequenced[T any](v *view, q question, take func(decoder) T, note func([]T)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		b := make(batches, batchWindow+1)
		id, err := v.c.begin(context.Background(), q, b)
		if err != nil {
			yield(none, err)
			return
		}
		over := false // the master has nothing open for it
		defer func() {
			if !over {
				v.c.giveUp(id)
			}
		}()
		for taken := uint32(0); !over; {
			next, err := b.next(v.c)
			over = err != nil || next.Last
			if err == nil && !over {
				if taken++; taken == batchWindow/2 {
					v.c.tell(more{id, taken})
					taken = 0
				}
			}
			var items []T
			if err == nil {
				items, err = decoded(v.c, next.Octets, func(d decoder) (list []T) {
					for d.More() {
						list = append(list, take(d))
					}
					return list
				})
			}
			if err != nil {
				yield(none, err)
				return
			}
			if note != nil {
				note(items)
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
		}
	}
}
