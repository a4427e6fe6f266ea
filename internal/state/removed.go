package state

import (
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
)

// removed is what is kept of an expunged message beside its own record, so that it
// can come back. It refers to its bodies, and counts in no quota.
type removed struct {
	at    mail.Instant // when
	by    mail.ModSeq  // the operation's
	flags mail.Flags   // that it had
	words mail.Keywords
}

// encode writes r and behind it the message's own record.
func (r *removed) encode(w *writer, message []byte) {
	w.start()
	w.int(int64(r.at))
	w.uint(uint64(r.by))
	w.octet(byte(r.flags))
	if r.words == (mail.Keywords{}) {
		w.octet(0)
	} else {
		w.octet(1)
		for _, word := range r.words {
			w.fixed(word)
		}
	}
	w.raw(message)
}

// decodeRemoved fills all of the message but Mailbox and UID. Its Prefix aliases b.
func decodeRemoved(b []byte) (d removed, m mail.Message, err error) {
	var r reader
	r.start(b)
	d.at = mail.Instant(r.int())
	d.by = mail.ModSeq(r.uint())
	flags := r.octet()
	if d.flags = mail.Flags(flags); d.flags&^mail.AllFlags != 0 {
		r.fail()
	}
	if r.flag() {
		for i := range d.words {
			d.words[i] = r.fixed()
		}
		if d.words == (mail.Keywords{}) {
			r.fail()
		}
	}
	message := r.b
	r.b = nil
	if err := r.finish("expunged message"); err != nil {
		return d, m, err
	}
	m, err = decodeMessage(message)
	return d, m, err
}

func expungedKey(dst key, a mail.AccountID, m mail.MailboxID, u mail.UID) key {
	return mailboxKey(dst, a, kindExpunged, m).uint32(uint32(u))
}

// keepMessage keeps a message that is about to go.
func (t *tx) keepMessage(b *box, uid mail.UID, r *removed, message []byte) {
	r.encode(&t.buf, message)
	t.set(expungedKey(t.key, t.id, b.id, uid), t.buf)
}

// dropExpunged lets up to limit expunged messages with lo <= key < hi go for good, and
// says how many; last is the UID of the last of them.
func (t *tx) dropExpunged(lo, hi []byte, limit int) (n int, last mail.UID) {
	var keys [][]byte
	var extents []mail.Extent
	t.scan(lo, hi, func(k, v []byte) bool {
		_, m, err := decodeRemoved(v)
		if err != nil {
			t.fail(err)
			return false
		}
		keys = append(keys, slices.Clone(k))
		extents = append(extents, m.Extents...)
		last = mail.UID(be32(k[tailUID:]))
		return len(keys) < limit
	})
	t.release(extents)
	t.deleteAll(keys)
	return len(keys), last
}
