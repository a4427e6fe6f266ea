package state

import (
	"iter"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// What follows finds the messages that refer to a body, for whoever writes its octets
// elsewhere: the state leads from messages to bodies only, and Apply needs no more.

// Brought yields each body that an operation at some LSN brings with each account
// that it is for. Only messages of these can ever refer to it, since copies stay in
// their account.
func Brought(at cluster.LSN, op *operation.Operation) iter.Seq2[mail.BodyID, mail.AccountID] {
	return func(yield func(mail.BodyID, mail.AccountID) bool) {
		switch k := op.Kind.(type) {
		case *operation.Operation_Append:
			for _, m := range k.Append.Messages {
				if !yield(bodyOf(at, m.Body), mail.AccountID(op.Account)) {
					return
				}
			}
		case *operation.Operation_Deliver:
			for _, r := range k.Deliver.Recipients {
				if !yield(bodyOf(at, k.Deliver.Body), mail.AccountID(r.Account)) {
					return
				}
			}
		}
	}
}

// Inserted yields the messages of an account that were inserted at or after a time,
// of hidden mailboxes and deleted accounts too. A message that refers to a body was
// inserted no earlier than the time of the operation that brought the body. Its cost
// goes by the messages it yields and the mailboxes there are.
func Inserted(r Reader, a mail.AccountID, since mail.Instant) iter.Seq2[mail.Message, error] {
	return func(yield func(mail.Message, error) bool) {
		boxes, err := allMailboxes(r, a)
		if err != nil {
			yield(mail.Message{}, err)
			return
		}
		for _, b := range boxes {
			lo, err := insertedFrom(r, a, b, since)
			if err != nil {
				yield(mail.Message{}, err)
				return
			}
			for m, err := range messagesFrom(r, a, b.id, lo) {
				if err == nil && m.SaveDate < since {
					continue
				}
				if !yield(m, err) || err != nil {
					return
				}
			}
		}
	}
}

// allMailboxes reads those of an account that have had messages.
func allMailboxes(r Reader, a mail.AccountID) (boxes []box, err error) {
	from := accountKey(nil, a, kindMailbox)
	for k, v := range r.Scan(from, prefixEnd(from)) {
		b := box{id: mail.MailboxID(k[accountPrefix:])}
		if b.mailbox, err = decodeMailbox(v); err != nil {
			return nil, storeErr(err, "read mailbox", b.id)
		}
		if b.uidnext > 1 {
			boxes = append(boxes, b)
		}
	}
	return boxes, scanErr(r)
}

// insertedFrom is a UID of b below which nothing was inserted at or after since. It
// looks further and further back, since UIDs and times rise together and what is
// asked for is mostly new.
func insertedFrom(r Reader, a mail.AccountID, b box, since mail.Instant) (mail.UID, error) {
	for back := mail.UID(16); back < b.uidnext-1; back *= 8 {
		lo := b.uidnext - back
		for m, err := range messagesFrom(r, a, b.id, lo) {
			if err != nil {
				return 0, err
			}
			if m.SaveDate < since {
				return lo, nil
			}
			break
		}
		if back > maxUID/8 {
			break
		}
	}
	return 1, nil
}

func messagesFrom(r Reader, a mail.AccountID, b mail.MailboxID, lo mail.UID) iter.Seq2[mail.Message, error] {
	return func(yield func(mail.Message, error) bool) {
		for k, v := range r.Scan(messageKey(nil, a, b, lo), prefixEnd(mailboxKey(nil, a, kindMessage, b))) {
			m, err := ownMessage(v, b, mail.UID(be32(k[tailUID:])))
			if !yield(m, storeErr(err, "message in", b)) || err != nil {
				return
			}
		}
		if err := scanErr(r); err != nil {
			yield(mail.Message{}, err)
		}
	}
}

// Standing is a message with what its mailbox says of it.
type Standing struct {
	mail.Message
	Name     string // of the mailbox
	Flags    mail.Flags
	Keywords []string
}

// Stands looks a message up, in hidden mailboxes and deleted accounts too; false when
// it is not there.
func Stands(r Reader, a mail.AccountID, box mail.MailboxID, uid mail.UID) (s Standing, ok bool, err error) {
	b, err := r.Get(messageKey(nil, a, box, uid))
	if err != nil || b == nil {
		return s, false, storeErr(err, "read message in", box)
	}
	if s.Message, err = ownMessage(b, box, uid); err != nil {
		return s, false, storeErr(err, "message in", box)
	}
	m, _, err := readMailbox(r, a, box)
	if err != nil {
		return s, false, err
	}
	s.Name = m.name
	no, bit := pageOf(uid)
	if b, err = r.Get(pageKey(nil, a, box, no)); err != nil || b == nil {
		return s, err == nil, storeErr(err, "read flags of", box)
	}
	var p page
	if err := p.decode(b); err != nil {
		return s, false, storeErr(err, "flags of", box)
	}
	var words mail.Keywords
	s.Flags, words = p.flags(bit)
	if words == (mail.Keywords{}) {
		return s, true, nil
	}
	table, err := readKeywords(r, a, box)
	for i, k := range table {
		if words.Has(i) {
			s.Keywords = append(s.Keywords, k)
		}
	}
	return s, err == nil, err
}
