package state

import (
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

const maxUID = 1<<32 - 1

// append adds messages to a mailbox, all or none, and removes the one they replace.
func (t *tx) append(op *operation.Append) (Code, mail.Result) {
	b := t.box(mail.MailboxID(op.Mailbox))
	if b == nil {
		return NoMailbox, mail.Result{}
	}
	if code := t.need(b, mail.MayInsert); code != Done {
		return code, mail.Result{}
	}
	old, size, code := t.replaced(op)
	if code != Done {
		return code, mail.Result{}
	}
	octets, count := -size, len(op.Messages)
	if old != nil {
		count--
	}
	table := t.keywords(b)
	may, mayWords := t.rights(b).Settable()
	words := make([]mail.Keywords, len(op.Messages))
	for i, m := range op.Messages {
		octets += m.Body.Size
		keywords, ok := m.Keywords, true
		if !mayWords {
			keywords = nil
		}
		if words[i], table, ok = places(table, keywords); !ok || m.Body.Size > mail.MaxMessageSize {
			return Limit, mail.Result{}
		}
	}
	if uint64(b.uidnext)+uint64(len(op.Messages)) > maxUID {
		return Limit, mail.Result{}
	}
	if grows := count > 0 || octets > 0; grows && !t.acc.fits(int64(count), octets) {
		return OverQuota, mail.Result{}
	}
	res := mail.Result{Mailbox: b.id, UIDValidity: b.uidvalidity, ModSeq: t.touch(b)}
	b.growKeywords(table)
	for i, m := range op.Messages {
		body := t.retain(t.at, m.Body, 1)
		f := mail.Flags(m.Flags) & may
		seen := f & mail.Seen
		if t.foreign() {
			f &^= mail.Seen // of the owner, who has not seen it
		}
		uid := t.insert(b, &mail.Message{
			Size:         m.Body.Size,
			InternalDate: mail.Instant(m.InternalDate),
			EmailID:      mail.EmailID(m.EmailId),
			ThreadID:     t.thread(m.References, mail.ThreadID(m.ThreadId)),
			Extents:      []mail.Extent{{Body: body, Length: m.Body.Size}},
			UIDL:         m.Uidl,
		}, f, words[i])
		if t.foreign() && seen != 0 {
			t.setSeen(b, t.user, uid, seen)
		}
		res.UIDs = res.UIDs.Add(uid)
	}
	if old != nil {
		res.Source, _ = t.remove(old, []mail.UID{mail.UID(op.Replaced)}, true)
	}
	return Done, res
}

// replaced finds the message that op replaces, and its size; nil if there is none.
func (t *tx) replaced(op *operation.Append) (old *box, size int64, code Code) {
	if op.Replaced == 0 {
		return nil, 0, Done
	}
	if old = t.box(mail.MailboxID(op.ReplacedIn)); old == nil {
		return nil, 0, NoMailbox
	}
	if code := t.need(old, mail.MayDeleteMail|mail.MayExpunge); code != Done {
		return nil, 0, code
	}
	octets := t.get(messageKey(t.key, t.id, old.id, mail.UID(op.Replaced)))
	if octets == nil {
		return nil, 0, NoMessage
	}
	m, err := decodeMessage(octets)
	if err != nil {
		t.fail(storeErr(err, "message in", old.id))
	}
	return old, m.Size, Done
}

// room refuses n more messages when the quota or the UIDs do not allow them.
func (t *tx) room(b *box, n int, octets int64) Code {
	switch {
	case uint64(b.uidnext)+uint64(n) > maxUID:
		return Limit
	case !t.acc.fits(int64(n), octets):
		return OverQuota
	}
	return Done
}

// insert gives m the next UID of b and adds it with these flags. SaveDate and
// Created are the operation's.
func (t *tx) insert(b *box, m *mail.Message, f mail.Flags, k mail.Keywords) mail.UID {
	at := t.touch(b)
	f &= mail.AllFlags
	uid := b.uidnext
	b.uidnext++
	m.SaveDate, m.Created = t.now, at
	encodeMessage(&t.buf, m)
	t.set(messageKey(t.key, t.id, b.id, uid), t.buf)

	no, bit := pageOf(uid)
	t.pageAt(b, no).put(bit, f, k, at)
	b.pageDirty = true
	b.count(f, 1)
	b.size += m.Size
	t.acc.quota.UsedMessages++
	t.acc.quota.UsedOctets += m.Size
	return uid
}

// count adds n messages with flags f to b's counters.
func (b *box) count(f mail.Flags, n int32) {
	b.messages += uint32(n)
	if f&mail.Seen == 0 {
		b.unseen += uint32(n)
	}
	if f&mail.Deleted != 0 {
		b.deleted += uint32(n)
	}
}

// places looks keywords up in a table, which grows by those it lacks; false when
// it is full or a keyword is none.
func places(table []string, words []string) (k mail.Keywords, grown []string, ok bool) {
	grown = table
	for _, w := range words {
		i := findKeyword(grown, w)
		if i < 0 {
			if len(grown) >= mail.MaxKeywords || !validKeyword(w) {
				return k, table, false
			}
			i = len(grown)
			grown = append(grown[:i:i], w)
		}
		k = k.With(i)
	}
	return k, grown, true
}

// thread is the thread of the first known reference, else the candidate; all
// references lead to it from now on.
func (t *tx) thread(refs []byte, candidate mail.ThreadID) mail.ThreadID {
	thread, found := candidate, 0
	n := len(refs) / referenceSize
	var known [operation.MaxReferences]bool
	for i := range n {
		v := t.get(accountKey(t.key, t.id, kindThread).octets(refs[i*referenceSize : (i+1)*referenceSize]...))
		if v == nil {
			continue
		}
		var r reader
		r.start(v)
		id := r.id()
		if err := r.finish("thread"); err != nil {
			t.fail(err)
		}
		if known[i] = true; found == 0 {
			thread = id
		}
		found++
	}
	for i := range n {
		if !known[i] {
			t.buf.start()
			t.buf.raw(thread[:])
			t.set(accountKey(t.key, t.id, kindThread).octets(refs[i*referenceSize:(i+1)*referenceSize]...), t.buf)
		}
	}
	return thread
}

// referenceSize is the octets of a hash of a message id.
const referenceSize = 16

// retain adds references to a body, which is recorded when these are its first.
func (s *store) retain(at cluster.LSN, b *operation.Body, n uint64) mail.BodyID {
	id := bodyOf(at, b)
	octets := s.get(bodyKey(s.key, spaceBody, id))
	if octets == nil {
		s.record(at, b, n)
		return id
	}
	rec, err := decodeBody(octets)
	if err != nil {
		s.fail(bodyErr(err, id))
	}
	rec.References += n
	rec.encode(&s.buf)
	s.set(bodyKey(s.key, spaceBody, id), s.buf)
	return id
}

// retainOnly is retain for an operation with one body. If that stands directly
// before the operation, no other can have referred to it, and nothing is read.
func (s *store) retainOnly(at cluster.LSN, b *operation.Body, n uint64) {
	if b.Chunks[0].Back != 0 {
		s.record(at, b, n)
	} else {
		s.retain(at, b, n)
	}
}

// record notes a body that was unknown, with its first n references.
func (s *store) record(at cluster.LSN, b *operation.Body, n uint64) {
	id := bodyOf(at, b)
	loc := Location{Chunks: make([]Placed, 0, len(b.Chunks))}
	for _, c := range b.Chunks {
		loc.Chunks = append(loc.Chunks, Placed{chunkLSN(at, c), c.Length})
	}
	loc.encode(&s.buf)
	s.set(bodyKey(s.key, spaceLocation, id), s.buf)
	rec := BodyRecord{Length: b.Size, SHA256: [32]byte(b.Sha256), References: n}
	rec.encode(&s.buf)
	s.set(bodyKey(s.key, spaceBody, id), s.buf)
}

// bodyOf is the id of a body that an operation at some LSN brings: where it begins.
func bodyOf(at cluster.LSN, b *operation.Body) mail.BodyID {
	return mail.BodyID(chunkLSN(at, b.Chunks[0]))
}

func chunkLSN(at cluster.LSN, c *operation.Chunk) cluster.LSN {
	if c.Back != 0 {
		return at - cluster.LSN(c.Back)
	}
	return cluster.LSN(c.Lsn)
}

// reuse adds a reference for each extent of a copied message.
func (s *store) reuse(extents []mail.Extent) {
	for _, e := range extents {
		s.reference(e.Body, 1)
	}
}

// release takes those of a removed message away.
func (s *store) release(extents []mail.Extent) {
	for _, e := range extents {
		s.reference(e.Body, -1)
	}
}

func (s *store) reference(id mail.BodyID, n int) {
	octets := s.get(bodyKey(s.key, spaceBody, id))
	if s.err != nil {
		return
	}
	if octets == nil {
		s.fail(bodyErr(fmt.Errorf("referred to but not recorded: %w", cluster.ErrDamaged), id))
		return
	}
	rec, err := decodeBody(octets)
	if err == nil && n < 0 && rec.References == 0 {
		err = cluster.ErrDamaged
	}
	if err != nil {
		s.fail(bodyErr(err, id))
		return
	}
	if rec.References += uint64(n); rec.References == 0 {
		s.delete(bodyKey(s.key, spaceBody, id))
		s.delete(bodyKey(s.key, spaceLocation, id))
		return
	}
	rec.encode(&s.buf)
	s.set(bodyKey(s.key, spaceBody, id), s.buf)
}
