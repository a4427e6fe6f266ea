package state

import (
	"iter"
	"slices"

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
// of hidden mailboxes and deleted accounts too, and those expunged since that can come
// back. A message that refers to a body was
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
			for _, kind := range referring {
				for m, err := range messagesFrom(r, a, kind, b.id, lo) {
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
		for _, kind := range referring {
			for m, err := range messagesFrom(r, a, kind, b.id, lo) {
				if err != nil {
					return 0, err
				}
				if m.SaveDate < since {
					return lo, nil
				}
				break
			}
		}
		if back > maxUID/8 {
			break
		}
	}
	return 1, nil
}

// referring are the kinds of records that refer to bodies.
var referring = [...]byte{kindMessage, kindExpunged}

func messagesFrom(r Reader, a mail.AccountID, kind byte, b mail.MailboxID, lo mail.UID) iter.Seq2[mail.Message, error] {
	return func(yield func(mail.Message, error) bool) {
		from := mailboxKey(nil, a, kind, b)
		end := prefixEnd(from)
		for k, v := range r.Scan(from.uint32(uint32(lo)), end) {
			var m mail.Message
			var err error
			if kind == kindExpunged {
				_, m, err = decodeRemoved(v)
			} else {
				m, err = decodeMessage(v)
			}
			m.Mailbox, m.UID, m.Prefix = b, mail.UID(be32(k[tailUID:])), slices.Clone(m.Prefix)
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

// Stands looks a message up, in hidden mailboxes and deleted accounts too, and among
// those that can come back; false when it is not there.
func Stands(r Reader, a mail.AccountID, box mail.MailboxID, uid mail.UID) (s Standing, ok bool, err error) {
	b, err := r.Get(messageKey(nil, a, box, uid))
	if err != nil {
		return s, false, storeErr(err, "read message in", box)
	}
	var words mail.Keywords
	if b == nil {
		words, ok, err = s.expunged(r, a, box, uid)
	} else if s.Message, err = ownMessage(b, box, uid); err == nil {
		ok = true
		words, err = s.flags(r, a)
	}
	if err != nil || !ok {
		return s, false, storeErr(err, "message in", box)
	}
	m, _, err := readMailbox(r, a, box)
	s.Name = m.name
	if err != nil || words == (mail.Keywords{}) {
		return s, err == nil, err
	}
	table, err := readKeywords(r, a, box)
	for i, k := range table {
		if words.Has(i) {
			s.Keywords = append(s.Keywords, k)
		}
	}
	return s, err == nil, err
}

// expunged fills s with a message that can come back, and returns its keywords.
func (s *Standing) expunged(r Reader, a mail.AccountID, box mail.MailboxID, uid mail.UID) (words mail.Keywords, ok bool, err error) {
	b, err := r.Get(expungedKey(nil, a, box, uid))
	if err != nil || b == nil {
		return words, false, err
	}
	d, m, err := decodeRemoved(b)
	m.Mailbox, m.UID, m.Prefix = box, uid, slices.Clone(m.Prefix)
	s.Message, s.Flags = m, d.flags
	return d.words, err == nil, err
}

// flags fills s with its message's flags, and returns its keywords.
func (s *Standing) flags(r Reader, a mail.AccountID) (words mail.Keywords, err error) {
	no, bit := pageOf(s.UID)
	b, err := r.Get(pageKey(nil, a, s.Mailbox, no))
	if err != nil || b == nil {
		return words, err
	}
	var p page
	if err := p.decode(b); err != nil {
		return words, err
	}
	s.Flags, words = p.flags(bit)
	return words, nil
}
