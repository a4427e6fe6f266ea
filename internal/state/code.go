package state

import "github.com/tandemail/tandemail/internal/mail"

// Code is how an operation ended. It is stored with the result: append only.
type Code uint8

// The codes. Every one but Done is a refusal: nothing was changed.
const (
	Done Code = iota
	NoAccount
	NoMailbox
	NoMessage
	Exists
	BadName
	HasChildren
	Cannot
	UseTaken
	OverQuota
	Limit
	Frozen     // not stored: the same id may succeed later
	OldCommand // not stored
	NoPerm
	lastCode
)

var codeErrors = [lastCode]error{
	NoAccount: mail.ErrNoAccount, NoMailbox: mail.ErrNoMailbox, NoMessage: mail.ErrNoMessage,
	Exists: mail.ErrExists, BadName: mail.ErrBadName, HasChildren: mail.ErrHasChildren,
	Cannot: mail.ErrCannot, UseTaken: mail.ErrUseTaken, OverQuota: mail.ErrOverQuota,
	Limit: mail.ErrLimit, Frozen: mail.ErrFrozen, OldCommand: mail.ErrOldCommand,
	NoPerm: mail.ErrNoPerm,
}

// Err returns the word of package mail for c, nil for Done.
func (c Code) Err() error { return codeErrors[c] }

// Outcome is what an operation came to.
type Outcome struct {
	Code   Code
	Result mail.Result
	// Repeated: the id had been seen; this is the first outcome, and nothing changed.
	Repeated bool
	// Recipients of a Deliver, in the operation's order.
	Recipients []RecipientOutcome
	// Changed says which mailboxes to look at again, for Watch.
	Changed []Changed
}

// RecipientOutcome is what a delivery came to for one recipient.
type RecipientOutcome struct {
	Number uint32
	Code   Code
	Result mail.Result // Mailbox, UIDValidity, UIDs, ModSeq
	// Repeated: this transaction's recipient had been seen.
	Repeated bool
	// Duplicate: an earlier delivery of the same octets was in doubt, and this is its result.
	Duplicate bool
}

// Changed is an account and its changed mailboxes. The zero mailbox id stands for
// the account itself: names, subscriptions, quota.
type Changed struct {
	Account   mail.AccountID
	Mailboxes []mail.MailboxID
}

// encodeResult appends c and r to w.
func encodeResult(w *writer, c Code, r *mail.Result) {
	w.octet(byte(c))
	w.uint(uint64(r.ModSeq))
	if r.Mailbox.IsZero() {
		w.octet(0)
	} else {
		w.octet(1)
		w.raw(r.Mailbox[:])
	}
	w.uint(uint64(r.UIDValidity))
	w.uids(r.UIDs)
	w.uids(r.Source)
	w.uids(r.Modified)
	if r.More {
		w.octet(1)
	} else {
		w.octet(0)
	}
}

func (r *reader) result() (c Code, res mail.Result) {
	c = Code(r.octet())
	if c >= lastCode {
		r.fail()
		c = Done
	}
	res.ModSeq = mail.ModSeq(r.uint())
	if r.flag() {
		res.Mailbox = r.id()
	}
	res.UIDValidity = mail.UIDValidity(r.uint32())
	res.UIDs = r.uids()
	res.Source = r.uids()
	res.Modified = r.uids()
	res.More = r.flag()
	return c, res
}

// flag is an octet that is 0 or 1.
func (r *reader) flag() bool {
	v := r.octet()
	if v > 1 {
		r.fail()
	}
	return v == 1
}
