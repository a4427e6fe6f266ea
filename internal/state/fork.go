package state

import (
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
)

// A fork begins a new history after a forced promotion or a restore: what was
// acknowledged and is lost may have used numbers that this history does not
// know, so all numbers move out of reach (design: mail model). They move so far for
// each fork of the store, not of this copy: a copy that did not follow some of them
// passes what was given in those histories too.
const (
	forkModSeq = 1 << 40
	forkUIDs   = 1 << 20
	forkNames  = 1 << 16 // UIDVALIDITYs
	// UIDs pass this only by many forks; then the mailbox gets a new UIDVALIDITY.
	forkMaxUID = 1 << 31
)

// slotRecord is the store's own record.
type slotRecord struct {
	forks    uint64
	forkTime mail.Instant // of the latest
}

func (r slotRecord) encode(w *writer) {
	w.start()
	w.uint(r.forks)
	w.int(int64(r.forkTime))
}

func decodeSlotRecord(b []byte) (s slotRecord, err error) {
	if b == nil {
		return s, nil
	}
	var r reader
	r.start(b)
	s.forks = r.uint()
	s.forkTime = mail.Instant(r.int())
	return s, r.finish("slot")
}

func (s *store) slotRecord() slotRecord {
	rec, err := decodeSlotRecord(s.get(append(s.key[:0], slotRecordKey...)))
	if err != nil {
		s.fail(err)
	}
	return rec
}

// forkSlot makes count the forks of the store; each account follows when it is next
// touched. One that is known already was begun again by the next master of a forced
// epoch that never served.
func (s *store) forkSlot(count uint64, now mail.Instant) {
	rec := s.slotRecord()
	if count == 0 {
		count = rec.forks + 1
	}
	if count <= rec.forks {
		return
	}
	rec.forks = count
	rec.forkTime = max(now, rec.forkTime)
	rec.encode(&s.buf)
	s.set(append(s.key[:0], slotRecordKey...), s.buf)
}

// fork makes the forks happen to the account that it has not seen. It takes no
// time but the fork's own, so that a reader may do the same beforehand.
func (t *tx) fork(slot slotRecord) {
	missed := slot.forks - t.acc.slotFork
	t.acc.modseq += mail.ModSeq(missed * forkModSeq)
	t.acc.fork += missed
	t.acc.skipUIDValidities(mail.UIDValidity(missed*forkNames), slot.forkTime)
	t.acc.slotFork = slot.forks
	for _, id := range t.mailboxIDs() {
		if b := t.loadBox(id); b != nil { // hidden ones may come back
			t.forkMailbox(b, missed, slot.forkTime)
		}
	}
	t.dropAccess()
	// Written at once, like the mailboxes: the operation may yet be refused.
	t.acc.encode(&t.buf)
	t.set(accountKey(t.key, t.id, kindAccount), t.buf)
}

func (t *tx) mailboxIDs() (ids []mail.MailboxID) {
	from := accountKey(nil, t.id, kindMailbox)
	t.scan(from, prefixEnd(from), func(k, _ []byte) bool {
		ids = append(ids, mail.MailboxID(slices.Clone(k[accountPrefix:])))
		return true
	})
	return ids
}

func (t *tx) forkMailbox(b *box, missed uint64, at mail.Instant) {
	b.highest, b.modseqFloor = t.acc.modseq, t.acc.modseq
	if next := uint64(b.uidnext) + missed*forkUIDs; next <= forkMaxUID {
		skipped := mail.UIDSet{{Lo: b.uidnext, Hi: mail.UID(next - 1)}}
		b.uidnext = mail.UID(next)
		t.buf.start()
		t.buf.int(int64(at))
		t.buf.uids(skipped)
		t.set(mailboxKey(t.key, t.id, kindTombstone, b.id).uint64(uint64(b.highest)), t.buf)
	} else {
		b.uidvalidity = t.acc.newUIDValidity(at)
	}
	b.encode(&t.buf)
	t.set(mailboxKey(t.key, t.id, kindMailbox, b.id), t.buf)
	t.moveLatest(b, b.was)
}

// Forked reports whether the store ever went on without what it had acknowledged: there
// may be tails of another history.
func Forked(r Reader) (bool, error) {
	b, err := r.Get([]byte(slotRecordKey))
	if err != nil || b == nil {
		return false, err
	}
	rec, err := decodeSlotRecord(b)
	return rec.forks > 0, err
}
