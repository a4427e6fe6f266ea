package state

import (
	"github.com/tandemail/tandemail/internal/mail"
)

// grants: a mailbox that says so has them, and no other.
func (a *auditor) grants(id mail.AccountID, m mail.MailboxID, rec mailbox) error {
	list, err := readGrants(a.r, id, m)
	if err != nil {
		return err
	}
	if i, there := grantTo(list, id); rec.shared != (len(list) > 0) || there && !list[i].Rights.Has(mail.OwnersRights) {
		a.wrong("mailbox %v: shared %v by its record, has grants %v", m, rec.shared, list)
	}
	return nil
}

// private compares what users have seen with the messages that are there, and counts it.
// A hidden mailbox may be half gone.
func (a *auditor) private(id mail.AccountID) error {
	counted, stored := map[seenChange]uint32{}, map[seenChange]uint32{}
	from := accountKey(nil, id, kindPrivate)
	var pages []userPage
	var keys []mail.MailboxID
	var numbers []uint32
	for k, v := range a.r.Scan(from, prefixEnd(from)) {
		u := userPage{user: mail.AccountID(k[privateUser:])}
		if err := u.page.decode(v); err != nil {
			return storeErr(err, "private flags of", id)
		}
		pages, keys, numbers = append(pages, u), append(keys, mail.MailboxID(k[accountPrefix:mailboxPrefix])), append(numbers, be32(k[tailUID:]))
	}
	if err := scanErr(a.r); err != nil {
		return err
	}
	for i := range pages {
		if err := a.privatePage(id, keys[i], numbers[i], &pages[i], counted); err != nil {
			return err
		}
	}
	from = accountKey(nil, id, kindSeen)
	for k, v := range a.r.Scan(from, prefixEnd(from)) {
		n, err := decodeCount(v)
		if err != nil {
			return storeErr(err, "seen messages of", id)
		}
		stored[seenChange{box: mail.MailboxID(k[accountPrefix:mailboxPrefix]), user: mail.AccountID(k[mailboxPrefix:])}] = n
	}
	for at, n := range counted {
		if stored[at] != n {
			a.wrong("mailbox %v: %v has seen %d messages by the record, %d by counting", at.box, at.user, stored[at], n)
		}
		delete(stored, at)
	}
	for at, n := range stored {
		if rec, _, err := readMailbox(a.r, id, at.box); err != nil || !rec.hidden {
			a.wrong("mailbox %v: %v has seen %d messages by the record, none by counting", at.box, at.user, n)
		}
	}
	return scanErr(a.r)
}

func (a *auditor) privatePage(id mail.AccountID, m mail.MailboxID, no uint32, u *userPage, counted map[seenChange]uint32) error {
	rec, _, err := readMailbox(a.r, id, m)
	if err != nil || rec.hidden {
		return err
	}
	b, err := a.r.Get(pageKey(nil, id, m, no))
	if err != nil {
		return err
	}
	var shared page
	if b != nil {
		if err := shared.decode(b); err != nil {
			return storeErr(err, "flags of", m)
		}
	}
	p := &u.page
	foreign := u.user != id && !u.user.IsZero()
	if p.present == 0 || p.present&^shared.present != 0 || p.largest > rec.highest || !foreign || !rec.private || len(p.keywords) > 0 {
		a.wrong("mailbox %v: page %d of %v is empty, of messages that are not there, or not for this mailbox", m, no, u.user)
	}
	for f, plane := range p.system {
		if mail.Flags(1)<<f != mail.Seen && plane != 0 {
			a.wrong("mailbox %v: page %d of %v has other flags than \\Seen", m, no, u.user)
		}
	}
	if n := popcount(p.system[trailingZeros(uint64(mail.Seen))]); n > 0 {
		counted[seenChange{box: m, user: u.user}] += uint32(n)
	}
	return nil
}
