package imapd

import (
	"errors"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// box is a session's picture of its selected mailbox: what the client was told.
type box struct {
	at          *place
	id          mail.MailboxID
	called      string // in its account, as it was looked at last
	uidValidity mail.UIDValidity
	examined    bool        // the client wants to change nothing
	rights      mail.Rights // of the user
	uids        uidMap
	told        session.Announced // all but Count
	unsure      mail.UID          // messages below may have been told of in a lost answer
	key         keySum            // of the user's key for URLs of it
	keyKnown    bool
}

// readOnly reports whether nothing may be changed, by the client's wish or for want of
// rights (RFC 4314 5.2).
func (b *box) readOnly() bool { return b.examined || b.rights&changing == 0 }

// announced is what the token says of the picture.
func (b *box) announced() *session.Announced {
	a := b.told
	a.Count = uint32(b.uids.len())
	return &a
}

// arrive adds a message.
func (b *box) arrive(u mail.UID) {
	b.uids.add(u)
	b.told.Sum = b.told.Sum.Add(u)
}

// expunge removes messages that are there.
func (b *box) expunge(set mail.UIDSet) {
	for u := range set.All() {
		b.told.Sum = b.told.Sum.Remove(u)
	}
	b.uids.remove(set)
	b.told.Recent = b.uids.among(b.told.Recent)
}

// selected is the record of the selected mailbox. errGone.
func (s *Session) selected(v mail.View) (mail.MailboxInfo, error) { return s.box.info(v) }

// info is the record of the mailbox. errGone.
func (b *box) info(v mail.View) (mail.MailboxInfo, error) {
	info, err := v.Mailbox(b.id)
	if errors.Is(err, mail.ErrNoMailbox) {
		err = errGone
	}
	return info, err
}

// resolve gives the messages that a sequence set names. UIDs that are not there
// are passed over; a message number that is not there is errNumber (RFC 9051 9).
func (s *Session) resolve(set imapwire.SeqSet, uid bool) (mail.UIDSet, error) {
	m := &s.box.uids
	if !uid && s.uidOnly() && !set.Saved {
		return nil, errUIDRequired
	}
	if set.Saved {
		return m.among(s.saved), nil
	}
	if uid {
		return s.box.byUID(set), nil
	}
	var parts []mail.UIDRange
	for _, r := range set.Resolve(uint32(m.len())) {
		if r.Lo == 0 || int(r.Hi) > m.len() {
			return nil, errNumber
		}
		parts = append(parts, m.numbers(r.Lo, r.Hi)...)
	}
	return mail.NewUIDSet(parts...), nil
}

// byUID gives the messages whose UIDs a sequence set names.
func (b *box) byUID(set imapwire.SeqSet) mail.UIDSet {
	if b.uids.len() == 0 {
		return nil
	}
	var parts []mail.UIDRange
	for _, r := range set.Resolve(uint32(b.uids.max())) {
		parts = append(parts, mail.UIDRange{Lo: mail.UID(r.Lo), Hi: mail.UID(r.Hi)})
	}
	return b.uids.among(mail.NewUIDSet(parts...))
}

// numbersOf is the message numbers of uids, as a set.
func (b *box) numbersOf(uids mail.UIDSet) mail.UIDSet {
	var set mail.UIDSet
	for u := range uids.All() {
		if n := b.uids.number(u); n != 0 {
			set = set.Add(mail.UID(n))
		}
	}
	return set
}

// split cuts set into parts of at most n UIDs.
func split(set mail.UIDSet, n int) []mail.UIDSet {
	var parts []mail.UIDSet
	var part mail.UIDSet
	room := n
	for _, r := range set {
		for r.Len() > room {
			cut := r.Lo + mail.UID(room)
			parts = append(parts, append(part, mail.UIDRange{Lo: r.Lo, Hi: cut - 1}))
			part, room, r.Lo = nil, n, cut
		}
		part = append(part, r)
		if room -= r.Len(); room == 0 {
			parts, part, room = append(parts, part), nil, n
		}
	}
	if len(part) > 0 {
		parts = append(parts, part)
	}
	return parts
}
