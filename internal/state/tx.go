package state

import (
	"slices"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// tx is one operation's work on one account. Records it changes are written by
// flush; a refusal must come before the first change.
type tx struct {
	*store
	at    cluster.LSN
	now   mail.Instant
	id    mail.AccountID
	user  mail.AccountID // whose operation it is; zero: the owner's
	acc   account
	dirty bool // acc was changed
	drawn bool // this operation has its MODSEQ
	boxes []*box

	private private      // the flag page of one user that is at hand
	seen    []seenChange // counts that are to be written

	accountChanged bool             // in a way that Watch of the account should tell
	keyless        []mail.MailboxID // whose access keys were removed: Watch tells of them

	// For the history: what the operation changed.
	described []*operation.MetadataEntry
	grantWas  mail.Rights
}

// box is a mailbox at work, with the flag page that is at hand.
type box struct {
	id mail.MailboxID
	mailbox
	dirty bool
	was   mail.ModSeq // highest, as stored; 0: it is new

	table       []string
	tableLoaded bool
	tableDirty  bool

	grants       []mail.Grant
	grantsLoaded bool

	page      page
	pageNo    uint32
	pageValid bool
	pageDirty bool
}

// begin loads the account; false when there is none. Forks of the store that the
// account has not seen happen to it here.
func (s *store) begin(id mail.AccountID, at cluster.LSN, now mail.Instant) (*tx, bool) {
	t := &tx{store: s, id: id, at: at, now: now}
	b := s.get(accountKey(s.key, id, kindAccount))
	if b == nil {
		return t, false
	}
	acc, err := decodeAccount(b)
	if err != nil {
		s.fail(storeErr(err, "account", id))
		return t, false
	}
	t.acc = acc
	t.now = max(now, acc.time)
	if acc.deleted {
		return t, false
	}
	if slot := s.slotRecord(); slot.forks != acc.slotFork {
		t.fork(slot)
	}
	return t, s.err == nil
}

// draw gives the operation's MODSEQ, the same each time.
func (t *tx) draw() mail.ModSeq {
	if !t.drawn {
		t.acc.modseq++
		t.drawn = true
		t.acc.time = t.now
		t.dirty = true
	}
	return t.acc.modseq
}

// drawAccount is draw for a change of the account itself.
func (t *tx) drawAccount() mail.ModSeq {
	t.accountChanged = true
	return t.draw()
}

// box returns a mailbox, nil when there is none or it is hidden.
func (t *tx) box(id mail.MailboxID) *box {
	for _, b := range t.boxes {
		if b.id == id {
			return b
		}
	}
	b := t.loadBox(id)
	if b == nil || b.hidden {
		return nil
	}
	t.boxes = append(t.boxes, b)
	return b
}

func (t *tx) loadBox(id mail.MailboxID) *box {
	octets := t.get(mailboxKey(t.key, t.id, kindMailbox, id))
	if octets == nil {
		return nil
	}
	m, err := decodeMailbox(octets)
	if err != nil {
		t.fail(storeErr(err, "mailbox", id))
		return nil
	}
	return &box{id: id, mailbox: m, was: m.highest}
}

// touch marks a change of messages in b at the operation's MODSEQ.
func (t *tx) touch(b *box) mail.ModSeq {
	b.highest = t.draw()
	b.dirty = true
	return b.highest
}

// keywords returns b's table.
func (t *tx) keywords(b *box) []string {
	if b.tableLoaded {
		return b.table
	}
	b.tableLoaded = true
	if octets := t.get(mailboxKey(t.key, t.id, kindKeywords, b.id)); octets != nil {
		table, err := decodeKeywords(octets)
		if err != nil {
			t.fail(storeErr(err, "keywords of", b.id))
		}
		b.table = table
	}
	return b.table
}

// growKeywords replaces b's table by a longer one that begins with it.
func (b *box) growKeywords(table []string) {
	if len(table) > len(b.table) {
		b.table, b.tableDirty = table, true
	}
}

// pageAt brings a page of b to hand for changing.
func (t *tx) pageAt(b *box, no uint32) *page {
	if b.pageValid && b.pageNo == no {
		return &b.page
	}
	t.flushPage(b)
	b.pageNo, b.pageValid = no, true
	octets := t.get(pageKey(t.key, t.id, b.id, no))
	if octets == nil {
		b.page = page{keywords: b.page.keywords[:0]}
		return &b.page
	}
	if err := b.page.decode(octets); err != nil {
		t.fail(storeErr(err, "flags of", b.id))
	}
	return &b.page
}

func (t *tx) flushPage(b *box) {
	if !b.pageDirty {
		return
	}
	b.pageDirty = false
	k := pageKey(t.key, t.id, b.id, b.pageNo)
	if b.page.present == 0 {
		t.delete(k)
		return
	}
	b.page.encode(&t.buf)
	t.set(k, t.buf)
}

// flush writes what was changed and returns where.
func (t *tx) flush() (changed Changed) {
	changed.Account = t.id
	t.flushPrivate()
	t.flushSeen()
	if t.accountChanged {
		changed.Mailboxes = append(changed.Mailboxes, mail.MailboxID{})
	}
	changed.Mailboxes = append(changed.Mailboxes, t.keyless...)
	for _, b := range t.boxes {
		t.flushPage(b)
		if b.tableDirty {
			encodeKeywords(&t.buf, b.table)
			t.set(mailboxKey(t.key, t.id, kindKeywords, b.id), t.buf)
		}
		if b.dirty {
			b.encode(&t.buf)
			t.set(mailboxKey(t.key, t.id, kindMailbox, b.id), t.buf)
			t.moveLatest(b, b.was)
			changed.Mailboxes = append(changed.Mailboxes, b.id)
		}
	}
	if t.dirty {
		t.acc.encode(&t.buf)
		t.set(accountKey(t.key, t.id, kindAccount), t.buf)
	}
	return changed
}

// visitPages shows the pages that a UID set touches, with the messages that are
// both there and in the set. The visitor may not change anything.
func (t *tx) visitPages(b *box, set mail.UIDSet, visit func(no uint32, p *page, bits uint64) bool) {
	t.flushPage(b)
	b.pageValid = false
	p, more := &b.page, true
	for _, r := range set {
		if b.uidnext == 0 || r.Lo >= b.uidnext || !more {
			return
		}
		r.Hi = min(r.Hi, b.uidnext-1)
		lo, _ := pageOf(r.Lo)
		hi, _ := pageOf(r.Hi)
		if lo == hi {
			if p := t.pageAt(b, lo); p.present != 0 {
				more = visit(lo, p, p.present&rangeBits(lo, r))
			}
			continue
		}
		b.pageValid = false
		from := pageKey(nil, t.id, b.id, lo)
		to := pageKey(nil, t.id, b.id, hi+1) // UIDs are 32 bits, so there is always one more page number
		t.scan(from, to, func(k, v []byte) bool {
			if err := p.decode(v); err != nil {
				t.fail(storeErr(err, "flags of", b.id))
				return false
			}
			no := be32(k[tailUID:])
			more = visit(no, p, p.present&rangeBits(no, r))
			return more
		})
	}
}

// rangeBits is which UIDs of a page are in r.
func rangeBits(no uint32, r mail.UIDRange) uint64 {
	first := uint64(no) * pageSize
	bits := ^uint64(0)
	if lo := uint64(r.Lo); lo > first {
		if lo-first >= pageSize {
			return 0
		}
		bits &= ^uint64(0) << (lo - first)
	}
	if hi := uint64(r.Hi); hi < first+pageSize-1 {
		if hi < first {
			return 0
		}
		bits &= ^uint64(0) >> (first + pageSize - 1 - hi)
	}
	return bits
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// existing lists the messages of b in set, at most limit+1 of them.
func (t *tx) existing(b *box, set mail.UIDSet, limit int) (uids []mail.UID) {
	t.visitPages(b, set, func(no uint32, _ *page, present uint64) bool {
		uids = appendUIDs(uids, no, present)
		return len(uids) <= limit
	})
	return uids[:min(len(uids), limit+1)]
}

func appendUIDs(uids []mail.UID, no uint32, set uint64) []mail.UID {
	if n := popcount(set); cap(uids)-len(uids) < n {
		uids = slices.Grow(uids, n)
	}
	for ; set != 0; set &= set - 1 {
		uids = append(uids, mail.UID(no*pageSize)+mail.UID(trailingZeros(set)))
	}
	return uids
}
