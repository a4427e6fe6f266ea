package state

import (
	"fmt"
	"iter"
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
)

// What follows reads what was deleted and is kept, of accounts deleted or not.

// ExpungedMessage is a message that can come back.
type ExpungedMessage struct {
	mail.Message              // with the mailbox and the UID that it had
	Flags        mail.Flags   // likewise
	At           mail.Instant // when it was expunged
	By           mail.ModSeq  // by the operation with this MODSEQ: see DeedAt
}

// Expunged yields the messages of an account that can come back, by mailbox and UID; of
// one mailbox if that is not zero.
func Expunged(r Reader, a mail.AccountID, box mail.MailboxID) iter.Seq2[ExpungedMessage, error] {
	return func(yield func(ExpungedMessage, error) bool) {
		from := accountKey(nil, a, kindExpunged)
		if !box.IsZero() {
			from = mailboxKey(nil, a, kindExpunged, box)
		}
		for k, v := range r.Scan(from, prefixEnd(from)) {
			d, m, err := decodeRemoved(v)
			if err != nil {
				yield(ExpungedMessage{}, storeErr(err, "expunged message of", a))
				return
			}
			m.Mailbox, m.UID = mail.MailboxID(k[accountPrefix:mailboxPrefix]), mail.UID(be32(k[tailUID:]))
			m.Prefix = slices.Clone(m.Prefix)
			if !yield(ExpungedMessage{m, d.flags, d.at, d.by}, nil) {
				return
			}
		}
		if err := scanErr(r); err != nil {
			yield(ExpungedMessage{}, err)
		}
	}
}

// AnyMailbox is a mailbox, hidden or not.
type AnyMailbox struct {
	ID       mail.MailboxID
	Name     string // when it was hidden, if it is
	Messages uint32
	Size     int64
	Hidden   bool
	Purging  bool         // hidden, and parts of it are gone
	At       mail.Instant // when it was hidden
	By       mail.ModSeq  // by the operation with this MODSEQ: see DeedAt
}

// AllMailboxes lists the mailboxes of an account by their ids, hidden ones too.
func AllMailboxes(r Reader, a mail.AccountID) (list []AnyMailbox, err error) {
	from := accountKey(nil, a, kindMailbox)
	for k, v := range r.Scan(from, prefixEnd(from)) {
		id := mail.MailboxID(k[accountPrefix:])
		m, err := decodeMailbox(v)
		if err != nil {
			return nil, storeErr(err, "read mailbox", id)
		}
		list = append(list, AnyMailbox{
			ID: id, Name: m.name, Messages: m.messages, Size: m.size, Hidden: m.hidden, Purging: m.purging, At: m.hiddenAt, By: m.hiddenBy,
		})
	}
	return list, scanErr(r)
}

// Existence of an account.
type Existence struct {
	Known   bool // there is a record of it
	Frozen  bool
	Deleted mail.Instant // when; 0: it is not
	Purging bool         // deleted, and parts of it are gone
	Quota   mail.Quota
}

// ExistenceOf looks an account up, deleted or not.
func ExistenceOf(r Reader, a mail.AccountID) (Existence, error) {
	b, err := r.Get(accountKey(nil, a, kindAccount))
	if err != nil || b == nil {
		return Existence{}, storeErr(err, "read account", a)
	}
	acc, err := decodeAccount(b)
	if err != nil {
		return Existence{}, storeErr(err, "account", a)
	}
	e := Existence{Known: true, Frozen: acc.frozen, Purging: acc.purging, Quota: acc.quota}
	if acc.deleted {
		e.Deleted = acc.time
	}
	return e, nil
}

// FrozenAccounts lists the accounts of a store that refuse changes.
func FrozenAccounts(r Reader) (list []mail.AccountID, err error) {
	err = eachAccount(r, mail.AccountID{}, func(id mail.AccountID, acc account) bool {
		if acc.frozen && !acc.deleted {
			list = append(list, id)
		}
		return true
	})
	return list, err
}

// oldest is the earliest time of what an account keeps, history included; false when
// it keeps nothing.
func oldest(r Reader, a mail.AccountID) (at mail.Instant, ok bool, err error) {
	from := accountKey(nil, a, kindRetained)
	for k := range r.Scan(from, prefixEnd(from)) {
		at, ok = retainedTime(k), true
		break
	}
	if err := scanErr(r); err != nil {
		return 0, false, err
	}
	for d, err := range History(r, a) {
		if err != nil {
			return 0, false, fmt.Errorf("look for what is due: %w", err)
		}
		if !ok || d.At < at {
			at, ok = d.At, true
		}
		break
	}
	return at, ok, nil
}

// InThread yields the messages of an account that have the thread of a message id's
// hash: one of them is the message with that id, if there is one; and by says which
// were expunged (0: none).
func InThread(r Reader, a mail.AccountID, hash [16]byte) iter.Seq2[ExpungedMessage, error] {
	return func(yield func(ExpungedMessage, error) bool) {
		thread, err := threadOf(r, a, hash)
		if err != nil || thread == (mail.ThreadID{}) {
			if err != nil {
				yield(ExpungedMessage{}, err)
			}
			return
		}
		boxes, err := allMailboxes(r, a)
		if err != nil {
			yield(ExpungedMessage{}, err)
			return
		}
		for _, b := range boxes {
			for m, err := range messagesFrom(r, a, kindMessage, b.id, 1) {
				if err == nil && m.ThreadID != thread {
					continue
				}
				if !yield(ExpungedMessage{Message: m}, err) || err != nil {
					return
				}
			}
		}
		for m, err := range Expunged(r, a, mail.MailboxID{}) {
			if err == nil && m.ThreadID != thread {
				continue
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

func threadOf(r Reader, a mail.AccountID, hash [16]byte) (mail.ThreadID, error) {
	b, err := r.Get(accountKey(nil, a, kindThread).octets(hash[:]...))
	if err != nil || b == nil {
		return mail.ThreadID{}, storeErr(err, "read threads of", a)
	}
	var rec reader
	rec.start(b)
	id := mail.ThreadID(rec.id())
	return id, rec.finish("thread")
}
