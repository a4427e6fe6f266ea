package state

import (
	"errors"
	"iter"
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
)

// The order of last changes: a key for each mailbox with its HIGHESTMODSEQ, so that who
// watches an account need not look at every mailbox. It is derived from the mailboxes'
// records and in no digest: a mailbox that was last changed under a release that did not
// keep it has none.

func latestKey(dst key, a mail.AccountID, at mail.ModSeq, m mail.MailboxID) key {
	return accountKey(dst, a, kindLatest).uint64(uint64(at)).octets(m[:]...)
}

// moveLatest follows a change of b's HIGHESTMODSEQ, which was was.
func (t *tx) moveLatest(b *box, was mail.ModSeq) {
	if was == b.highest {
		return
	}
	if was != 0 {
		t.delete(latestKey(t.key, t.id, was, b.id))
	}
	if !b.hidden {
		t.set(latestKey(t.key, t.id, b.highest, b.id), mark)
	}
}

// Changed implements mail.View.
func (v *View) Changed(since mail.ModSeq) iter.Seq2[mail.MailboxInfo, error] {
	return func(yield func(mail.MailboxInfo, error) bool) {
		from := accountKey(nil, v.id, kindLatest)
		end := prefixEnd(from)
		var ids []mail.MailboxID // since records are read in between
		for k := range v.r.Scan(from.uint64(uint64(since)+1), end) {
			ids = append(ids, mail.MailboxID(slices.Clone(k[accountPrefix+8:])))
		}
		if err := scanErr(v.r); err != nil {
			yield(mail.MailboxInfo{}, err)
			return
		}
		for _, id := range ids {
			info, err := v.Mailbox(id)
			if v.foreign() && errors.Is(err, mail.ErrNoMailbox) {
				continue
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

// eventKinds are the deeds that readers are told of.
var eventKinds = map[string]mail.EventKind{
	DeedCreate: mail.MailboxCreated, DeedUndeleteMailbox: mail.MailboxCreated, DeedDelete: mail.MailboxDeleted,
	DeedRename: mail.MailboxRenamed, DeedSubscribe: mail.Subscribed, DeedUnsubscribe: mail.Unsubscribed,
	DeedMetadata: mail.MetadataChanged, DeedSetACL: mail.RightsChanged,
}

// Events implements mail.View.
func (v *View) Events(since mail.ModSeq) iter.Seq2[mail.Event, error] {
	return func(yield func(mail.Event, error) bool) {
		if since < v.acc.forgotten {
			yield(mail.Event{}, mail.ErrBelowFloor)
			return
		}
		for d, err := range deedsAfter(v.r, v.id, since) {
			if err != nil {
				yield(mail.Event{}, err)
				return
			}
			kind := eventKinds[d.Kind]
			if kind == 0 {
				continue
			}
			if kind == mail.MailboxRenamed && d.Name == mail.Inbox {
				kind, d.Name = mail.MailboxCreated, ""
			}
			e := mail.Event{ModSeq: d.ModSeq, Kind: kind, Mailbox: d.Mailbox, Name: d.Name, NewName: d.NewName, Entries: d.Entries, Was: d.Was}
			known, err := v.mayKnow(&e, d.Grantee)
			if (known || err != nil) && !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// latest: each entry is that of a mailbox's record.
func (a *auditor) latest(id mail.AccountID, boxes map[mail.MailboxID]mailbox) error {
	from := accountKey(nil, id, kindLatest)
	for k := range a.r.Scan(from, prefixEnd(from)) {
		r := reader{b: k[accountPrefix:]}
		at, m := mail.ModSeq(r.fixed()), mail.MailboxID(r.id())
		if b, ok := boxes[m]; !ok || b.highest != at {
			a.wrong("mailbox %v: changed at %d by the order of changes, at %d by its record", m, at, b.highest)
		}
	}
	return scanErr(a.r)
}
