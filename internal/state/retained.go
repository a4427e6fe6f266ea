package state

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// What was deleted is kept until a Purge operation says otherwise: how long, the
// state does not know. Each expunge and each deleted mailbox has an entry in its
// account's queue of what is kept, by the time of the deletion. An entry whose
// messages or mailbox came back is nothing.

// What an entry of the queue is about.
const (
	retainedMessages = 'E' // mailbox, MODSEQ; the value is their UIDs
	retainedMailbox  = 'M' // mailbox
)

func (t *tx) retainedKey(at mail.Instant, what byte, m mail.MailboxID) key {
	return accountKey(t.key, t.id, kindRetained).uint64(uint64(at)).octets(what).octets(m[:]...)
}

// keepUntilPurged queues messages that keepMessage has kept.
func (t *tx) keepUntilPurged(b *box, by mail.ModSeq, uids mail.UIDSet) {
	t.buf.start()
	t.buf.uids(uids)
	t.set(t.retainedKey(t.now, retainedMessages, b.id).uint64(uint64(by)), t.buf)
}

// keepMailbox queues a mailbox that is hidden from now on.
func (t *tx) keepMailbox(b *box) {
	t.set(t.retainedKey(b.hiddenAt, retainedMailbox, b.id), mark)
}

// retained is one entry of the queue.
type retained struct {
	key   []byte
	value []byte
}

func (r *retained) at() mail.Instant { return retainedTime(r.key) }

func retainedTime(k []byte) mail.Instant {
	return mail.Instant(binary.BigEndian.Uint64(k[accountPrefix:]))
}

func (r *retained) what() byte { return r.key[accountPrefix+8] }

func (r *retained) mailbox() mail.MailboxID {
	return mail.MailboxID(r.key[accountPrefix+9 : accountPrefix+9+16])
}

// purgeRetained lets what was deleted at or before a time go for good, about limit
// messages of it; true when others are left.
func (t *tx) purgeRetained(before mail.Instant, limit int) (more bool) {
	from := accountKey(nil, t.id, kindRetained)
	var due []retained
	t.scan(from, prefixEnd(from), func(k, v []byte) bool {
		if retainedTime(k) > before {
			return false
		}
		if more = len(due) == purgeEntries; more {
			return false
		}
		due = append(due, retained{slices.Clone(k), slices.Clone(v)})
		return true
	})
	for i := range due {
		if limit <= 0 {
			return true
		}
		n, done := t.purgeEntry(&due[i], limit)
		if !done {
			return true
		}
		limit -= n
	}
	return more
}

// purgeEntry does one entry of the queue, as far as the limit allows.
func (t *tx) purgeEntry(r *retained, limit int) (n int, done bool) {
	switch r.what() {
	case retainedMessages:
		n, done = t.purgeMessages(r, limit)
	case retainedMailbox:
		n, done = t.purgeMailbox(r.mailbox(), r.at(), limit)
	default:
		t.fail(fmt.Errorf("entry of kind %q among what is kept: %w", r.what(), cluster.ErrNewer))
	}
	if done {
		t.delete(append(t.key[:0], r.key...))
	}
	return n, done
}

func (t *tx) purgeMessages(r *retained, limit int) (n int, done bool) {
	var rec reader
	rec.start(r.value)
	uids := rec.uids()
	if err := rec.finish("kept messages"); err != nil {
		t.fail(err)
	}
	for i, u := range uids {
		m, last := t.dropExpunged(expungedKey(nil, t.id, r.mailbox(), u.Lo), expungedKey(nil, t.id, r.mailbox(), u.Hi).octets(0), limit-n)
		if n += m; n < limit {
			continue
		}
		left := uids[i:]
		if left[0].Lo = last + 1; last == u.Hi {
			left = left[1:]
		}
		t.buf.start()
		t.buf.uids(left)
		t.set(append(t.key[:0], r.key...), t.buf)
		return n, len(left) == 0
	}
	return n, true
}

// purgeMailbox removes a part of a mailbox that has been hidden since at, and in the
// end itself.
func (t *tx) purgeMailbox(id mail.MailboxID, at mail.Instant, limit int) (n int, done bool) {
	b := t.loadBox(id)
	if b == nil || !b.hidden || b.hiddenAt != at {
		return 0, true // it came back, or went already
	}
	return t.dropMailbox(b, limit)
}

// dropMailbox removes up to limit records of a hidden mailbox, and with the last of
// them the mailbox.
func (t *tx) dropMailbox(b *box, limit int) (n int, done bool) {
	id := b.id
	from := mailboxKey(nil, t.id, kindMessage, id)
	n = t.dropMessages(from, prefixEnd(from), limit)
	if from = mailboxKey(nil, t.id, kindExpunged, id); n < limit {
		m, _ := t.dropExpunged(from, prefixEnd(from), limit-n)
		n += m
	}
	for _, kind := range []byte{kindFlags, kindTombstone, kindRecent, kindMetadata, kindPrivate, kindSeen} {
		if from := mailboxKey(nil, t.id, kind, id); n < limit {
			n += t.dropKeys(from, prefixEnd(from), limit-n)
		}
	}
	if n >= limit {
		if !b.purging {
			b.purging = true // from now on it does not come back
			b.encode(&t.buf)
			t.set(mailboxKey(t.key, t.id, kindMailbox, id), t.buf)
		}
		return n, false
	}
	for _, kind := range []byte{kindKeywords, kindGrants, kindMailbox} {
		t.delete(mailboxKey(t.key, t.id, kind, id))
	}
	return n, true
}

// dropMessages removes up to limit message records and lets their octets go.
func (t *tx) dropMessages(lo, hi []byte, limit int) int {
	var keys [][]byte
	var extents []mail.Extent
	t.scan(lo, hi, func(k, v []byte) bool {
		m, err := decodeMessage(v)
		if err != nil {
			t.fail(err)
			return false
		}
		keys = append(keys, slices.Clone(k))
		extents = append(extents, m.Extents...)
		return len(keys) < limit
	})
	t.release(extents)
	t.deleteAll(keys)
	return len(keys)
}

// dropKeys removes up to limit keys that refer to nothing.
func (t *tx) dropKeys(lo, hi []byte, limit int) int {
	var keys [][]byte
	t.scan(lo, hi, func(k, _ []byte) bool {
		keys = append(keys, slices.Clone(k))
		return len(keys) < limit
	})
	t.deleteAll(keys)
	return len(keys)
}

func (t *tx) deleteAll(keys [][]byte) {
	for _, k := range keys {
		t.delete(append(t.key[:0], k...))
	}
}

// purge does a bounded part of what is due in an account; of one that was deleted long
// enough ago, of everything. Result.More: there is more to do.
func (s *store) purge(at cluster.LSN, op *operation.Operation, p *operation.Purge) (out Outcome) {
	t, ok := s.begin(mail.AccountID(op.Account), at, mail.Instant(op.Time))
	before := mail.Instant(p.DeletedBefore)
	switch {
	case ok && len(p.Mailbox) > 0:
		out.Result.More = t.purgeOne(mail.MailboxID(p.Mailbox))
	case ok:
		expired := t.expire(purgeEntries)
		kept := t.purgeRetained(before, purgeUnits)
		out.Result.More = t.forgetDeeds(mail.Instant(p.HistoryBefore)) || expired || kept
	case !t.acc.deleted:
		out.Code = NoAccount
	case t.acc.time <= before:
		out.Result.More = t.purgeAccount()
	}
	if ok {
		t.flush()
	}
	return out
}

// purgeOne lets all that was deleted in a mailbox go, and itself if it is hidden.
func (t *tx) purgeOne(id mail.MailboxID) (more bool) {
	b := t.loadBox(id)
	if b == nil {
		return false
	}
	if b.hidden {
		_, done := t.dropMailbox(b, purgeUnits)
		return !done
	}
	from := mailboxKey(nil, t.id, kindExpunged, id)
	n, _ := t.dropExpunged(from, prefixEnd(from), purgeUnits)
	return n == purgeUnits
}

// purgeAccount removes a part of a deleted account; its own record goes last.
func (t *tx) purgeAccount() (more bool) {
	if !t.acc.purging {
		t.acc.purging = true // from now on it does not come back
		t.acc.encode(&t.buf)
		t.set(accountKey(t.key, t.id, kindAccount), t.buf)
	}
	from := accountKey(nil, t.id, kindMessage)
	n := t.dropMessages(from, prefixEnd(from), purgeUnits)
	if from = accountKey(nil, t.id, kindExpunged); n < purgeUnits {
		m, _ := t.dropExpunged(from, prefixEnd(from), purgeUnits-n)
		n += m
	}
	if n < purgeUnits {
		_, hi := AccountRange(t.id)
		n += t.dropKeys(accountKey(nil, t.id, kindAccount).octets(0), hi, purgeUnits-n)
	}
	if n >= purgeUnits {
		return true
	}
	t.delete(accountKey(t.key, t.id, kindAccount))
	t.delete(purgeKey(t.key, t.id))
	return false
}
