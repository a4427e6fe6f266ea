package state

import (
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// storeFlags is STORE with RFC 7162's UNCHANGEDSINCE.
func (t *tx) storeFlags(op *operation.Store) (Code, mail.Result) {
	b := t.box(mail.MailboxID(op.Mailbox))
	if b == nil {
		return NoMailbox, mail.Result{}
	}
	c := flagChange{mode: mail.StoreMode(op.Mode), flags: mail.Flags(op.Flags) & mail.AllFlags}
	if code := t.mayStore(b, &c, op); code != Done {
		return code, mail.Result{}
	}
	table, ok := t.keywords(b), true
	if c.mode == mail.RemoveFlags {
		c.words = knownPlaces(table, c.names)
	} else if c.words, table, ok = places(table, c.names); !ok {
		return Limit, mail.Result{}
	}
	uids := t.existing(b, uidSet(op.Uids), mail.MaxTouched)
	if len(uids) > mail.MaxTouched {
		return Limit, mail.Result{}
	}
	var res mail.Result
	for _, uid := range uids {
		no, bit := pageOf(uid)
		p := t.pageAt(b, no)
		f0, k0 := p.flags(bit)
		at, shared := max(p.modseqs[bit], b.modseqFloor), f0
		if t.foreign() {
			seen, changed := t.seenBy(b, t.user, uid)
			f0, at = f0&^mail.Seen|seen, max(at, changed)
		}
		if since := op.UnchangedSince; since != nil && at > mail.ModSeq(*since) {
			res.Modified = res.Modified.Add(uid)
			continue
		}
		f1, k1 := c.apply(f0, k0)
		if f0 == f1 && k0 == k1 {
			continue
		}
		res.ModSeq = t.touch(b)
		res.UIDs = res.UIDs.Add(uid)
		if t.foreign() {
			if (f0^f1)&mail.Seen != 0 {
				t.setSeen(b, t.user, uid, f1)
			}
			if f1 = f1&^mail.Seen | shared&mail.Seen; f1 == shared && k0 == k1 {
				continue
			}
		}
		p.put(bit, f1, k1, res.ModSeq)
		b.pageDirty = true
		b.count(shared, -1)
		b.count(f1, 1)
	}
	if res.ModSeq != 0 {
		b.growKeywords(table)
	}
	return Done, res
}

// mayStore takes out of a change what the user's rights do not allow, and refuses it if
// that is all of it (RFC 4314 4).
func (t *tx) mayStore(b *box, c *flagChange, op *operation.Store) Code {
	rights := t.rights(b)
	c.may, c.mayWords = rights.Settable()
	nothing := c.flags == 0 && len(op.Keywords) == 0
	c.flags &= c.may
	if c.mayWords {
		c.names = op.Keywords
	}
	ok := nothing || c.flags != 0 || len(c.names) > 0
	if c.mode == mail.ReplaceFlags {
		ok = c.may != 0
	}
	if ok && rights != 0 {
		return Done
	}
	return t.need(b, mail.MaySeen|mail.MayDeleteMail|mail.MayWrite)
}

type flagChange struct {
	mode     mail.StoreMode
	flags    mail.Flags
	names    []string // of the keywords
	words    mail.Keywords
	may      mail.Flags // which the user may set
	mayWords bool       // and may he keywords
}

func (c flagChange) apply(f mail.Flags, k mail.Keywords) (mail.Flags, mail.Keywords) {
	switch c.mode {
	case mail.AddFlags:
		return f | c.flags, k.Or(c.words)
	case mail.RemoveFlags:
		return f &^ c.flags, k.AndNot(c.words)
	}
	if !c.mayWords {
		return f&^c.may | c.flags, k
	}
	return f&^c.may | c.flags, c.words
}

// knownPlaces looks up those keywords that a table has.
func knownPlaces(table, words []string) (k mail.Keywords) {
	for _, w := range words {
		if i := findKeyword(table, w); i >= 0 {
			k = k.With(i)
		}
	}
	return k
}

// expunge removes messages that carry \Deleted, or all that are named, at most
// mail.MaxTouched.
func (t *tx) expunge(op *operation.Expunge) (Code, mail.Result) {
	b := t.box(mail.MailboxID(op.Mailbox))
	if b == nil {
		return NoMailbox, mail.Result{}
	}
	need := mail.MayExpunge
	if op.Unmarked {
		need |= mail.MayDeleteMail
	}
	if code := t.need(b, need); code != Done {
		return code, mail.Result{}
	}
	var res mail.Result
	if b.deleted == 0 && !op.Unmarked {
		return Done, res
	}
	deleted := trailingZeros(uint64(mail.Deleted))
	var uids []mail.UID
	t.visitPages(b, uidSet(op.Uids), func(no uint32, p *page, present uint64) bool {
		if !op.Unmarked {
			present &= p.system[deleted]
		}
		uids = appendUIDs(uids, no, present)
		return len(uids) <= mail.MaxTouched
	})
	if res.More = len(uids) > mail.MaxTouched; res.More {
		uids = uids[:mail.MaxTouched]
	}
	if len(uids) > 0 {
		res.UIDs, res.ModSeq = t.remove(b, uids, true)
	}
	return Done, res
}

// remove takes messages out of b and leaves a tombstone. expunged: they may come
// back until they are purged; a move takes them elsewhere.
func (t *tx) remove(b *box, uids []mail.UID, expunged bool) (set mail.UIDSet, at mail.ModSeq) {
	at = t.touch(b)
	for _, uid := range uids {
		no, bit := pageOf(uid)
		p := t.pageAt(b, no)
		f, words := p.flags(bit)
		octets := t.get(messageKey(t.key, t.id, b.id, uid))
		m, err := decodeMessage(octets)
		if err != nil {
			t.fail(storeErr(err, "message in", b.id))
			return set, at
		}
		if expunged {
			t.keepMessage(b, uid, &removed{at: t.now, by: at, flags: f, words: words}, octets)
		}
		t.delete(messageKey(t.key, t.id, b.id, uid))
		p.clear(bit)
		b.pageDirty = true
		b.count(f, -1)
		b.size -= m.Size
		t.acc.quota.UsedMessages--
		t.acc.quota.UsedOctets -= m.Size
		set = set.Add(uid)
	}
	t.forgetSeen(b, uids)
	t.tombstone(b, at, set)
	if expunged {
		t.keepUntilPurged(b, at, set)
	}
	return set, at
}

// recent raises a user's \Recent watermark. It is no change that clients see
// and draws no MODSEQ.
func (t *tx) recent(op *operation.Recent) (Code, mail.Result) {
	b := t.box(mail.MailboxID(op.Mailbox))
	if b == nil {
		return NoMailbox, mail.Result{}
	}
	if len(op.User) > mail.MaxName {
		return Limit, mail.Result{}
	}
	k := mailboxKey(t.key, t.id, kindRecent, b.id).string(op.User)
	var r reader
	if octets := t.get(k); octets != nil {
		r.start(octets)
		if old := r.uint32(); old >= op.Uid {
			return Done, mail.Result{}
		}
	}
	t.buf.start()
	t.buf.uint(uint64(op.Uid))
	t.set(k, t.buf)
	return Done, mail.Result{}
}
