package state

import (
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// undelete inserts expunged messages again: with new UIDs, and with the flags they
// had, \Deleted excepted. What came back is kept no more, so that a second operation
// of the same kind has no effect. Those that are gone are passed over.
func (t *tx) undelete(op *operation.Undelete) (Code, mail.Result) {
	from, to := t.loadBox(mail.MailboxID(op.Mailbox)), t.box(mail.MailboxID(op.To))
	if from == nil || to == nil {
		return NoMailbox, mail.Result{}
	}
	uids, octets := t.expungedOf(from.id, uidSet(op.Uids), mail.MaxTouched)
	res := mail.Result{Mailbox: to.id, UIDValidity: to.uidvalidity}
	switch {
	case len(uids) == 0:
		return Done, res
	case len(uids) > mail.MaxTouched, uint64(to.uidnext)+uint64(len(uids)) > maxUID:
		return Limit, mail.Result{}
	case !op.OverQuota && !t.acc.fits(int64(len(uids)), octets):
		return OverQuota, mail.Result{}
	}
	words := translator{table: t.keywords(to), names: t.keywords(from)}
	if !t.wordsOf(from.id, uids, &words) {
		return Limit, mail.Result{}
	}
	res.ModSeq = t.touch(to)
	to.growKeywords(words.table)
	for _, uid := range uids {
		d, m := t.expungedMessage(from.id, uid)
		k, _ := words.translate(d.words)
		t.delete(expungedKey(t.key, t.id, from.id, uid))
		// Its references to bodies pass on.
		res.UIDs = res.UIDs.Add(t.insert(to, &m, d.flags&^mail.Deleted, k))
		res.Source = res.Source.Add(uid)
	}
	return Done, res
}

// expungedOf lists the messages of a set that can come back, at most limit+1 of them,
// and their size.
func (t *tx) expungedOf(box mail.MailboxID, set mail.UIDSet, limit int) (uids []mail.UID, octets int64) {
	for _, u := range set {
		t.scan(expungedKey(nil, t.id, box, u.Lo), expungedKey(nil, t.id, box, u.Hi).octets(0), func(k, v []byte) bool {
			_, m, err := decodeRemoved(v)
			if err != nil {
				t.fail(storeErr(err, "expunged message of", box))
				return false
			}
			uids = append(uids, mail.UID(be32(k[tailUID:])))
			octets += m.Size
			return len(uids) <= limit
		})
		if len(uids) > limit {
			break
		}
	}
	return uids, octets
}

func (t *tx) expungedMessage(box mail.MailboxID, uid mail.UID) (removed, mail.Message) {
	d, m, err := decodeRemoved(t.get(expungedKey(t.key, t.id, box, uid)))
	if err != nil {
		t.fail(storeErr(err, "expunged message of", box))
	}
	m.Prefix = append([]byte(nil), m.Prefix...)
	return d, m
}

// wordsOf looks all keywords of the messages up; false when the table is full.
func (t *tx) wordsOf(box mail.MailboxID, uids []mail.UID, words *translator) bool {
	for _, uid := range uids {
		d, _ := t.expungedMessage(box, uid)
		if _, ok := words.translate(d.words); !ok {
			return false
		}
	}
	return true
}

// undeleteMailbox brings a hidden mailbox back as it was, under a name that is free:
// with its id, UIDVALIDITY and UIDs, and its special use if no other has it now.
func (t *tx) undeleteMailbox(op *operation.UndeleteMailbox) (Code, mail.Result) {
	id, name := mail.MailboxID(op.Mailbox), canonicalName(op.Name)
	b := t.loadBox(id)
	if b == nil || b.purging {
		return NoMailbox, mail.Result{}
	}
	if !b.hidden {
		return Exists, mail.Result{}
	}
	if code := t.mayCreate(name, ""); code != Done {
		return code, mail.Result{}
	}
	if !op.OverQuota && !t.acc.fits(int64(b.messages), b.size) {
		return OverQuota, mail.Result{}
	}
	b.hidden, b.hiddenAt, b.hiddenBy, b.name = false, 0, 0, name
	t.boxes = append(t.boxes, b)
	t.touch(b)
	t.setName(name, id)
	if b.use != "" && t.get(t.useKey(b.use)) != nil {
		b.use = ""
	}
	if b.use != "" {
		t.buf.start()
		t.buf.raw(id[:])
		t.set(t.useKey(b.use), t.buf)
	}
	t.acc.mailboxes++
	t.acc.quota.UsedMessages += int64(b.messages)
	t.acc.quota.UsedOctets += b.size
	_, use := t.metadataOf(id)
	t.acc.metadata.add(use)
	return Done, mail.Result{Mailbox: id, UIDValidity: b.uidvalidity, ModSeq: t.drawAccount()}
}

// undeleteAccount brings a deleted account back, unless parts of it are gone. One that
// is not deleted stays as it is.
func (s *store) undeleteAccount(at cluster.LSN, op *operation.Operation) (out Outcome) {
	t, ok := s.begin(mail.AccountID(op.Account), at, mail.Instant(op.Time))
	switch {
	case ok || s.err != nil:
		return out
	case !t.acc.deleted || t.acc.purging:
		return Outcome{Code: NoAccount}
	}
	t.acc.deleted = false
	if slot := s.slotRecord(); slot.forks != t.acc.slotFork {
		t.fork(slot)
	}
	s.delete(purgeKey(s.key, t.id))
	out.Result.ModSeq = t.drawAccount()
	t.note(op, &out)
	out.Changed = []Changed{t.flush()}
	return out
}
