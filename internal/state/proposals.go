package state

import (
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// NewAccount is what an account begins with.
type NewAccount struct {
	LimitMessages, LimitOctets int64 // 0: none
	// Mailboxes beside INBOX; nil means Drafts, Sent, Trash, Junk and Archive.
	Mailboxes []NewMailbox
}

// NewMailbox is one of an account's first mailboxes. It is subscribed.
type NewMailbox struct {
	Name string
	Use  mail.SpecialUse
}

func defaultMailboxes() []NewMailbox {
	return []NewMailbox{
		{"Drafts", mail.UseDrafts},
		{"Sent", mail.UseSent},
		{"Trash", mail.UseTrash},
		{"Junk", mail.UseJunk},
		{"Archive", mail.UseArchive},
	}
}

// CreateAccount proposes an account. Refusals: mail.ErrExists, ErrBadName, ErrUseTaken.
func (b *Builder) CreateAccount(actor mail.Actor, account mail.AccountID, n NewAccount) (*Proposal, error) {
	p := b.forAccount(actor, account)
	list := n.Mailboxes
	if list == nil {
		list = defaultMailboxes()
	}
	out := &operation.CreateAccount{LimitMessages: n.LimitMessages, LimitOctets: n.LimitOctets}
	for _, m := range append([]NewMailbox{{Name: mail.Inbox}}, list...) {
		if err := checkName(m.Name); err != nil {
			return nil, err
		}
		out.Mailboxes = append(out.Mailboxes, &operation.NewMailbox{
			Id: p.draw(), Name: m.Name, Use: string(m.Use), Subscribed: true,
		})
	}
	p.op.Kind = &operation.Operation_CreateAccount{CreateAccount: out}
	return p.finish()
}

// DeleteAccount proposes that an account and all it has be removed: hidden at
// once, removed by Purge. Until that begins, UndeleteAccount brings it back.
func (b *Builder) DeleteAccount(actor mail.Actor, account mail.AccountID) (*Proposal, error) {
	p := b.forAccount(actor, account)
	p.op.Kind = &operation.Operation_DeleteAccount{DeleteAccount: &operation.DeleteAccount{}}
	return p.finish()
}

// UndeleteAccount proposes that a deleted account be there again, with all it had.
// Refusal: mail.ErrNoAccount, a purge of it has begun.
func (b *Builder) UndeleteAccount(actor mail.Actor, account mail.AccountID) (*Proposal, error) {
	p := b.forAccount(actor, account)
	p.op.Kind = &operation.Operation_UndeleteAccount{UndeleteAccount: &operation.UndeleteAccount{}}
	return p.finish()
}

// Undelete is what to bring back of a mailbox.
type Undelete struct {
	Mailbox   mail.MailboxID
	UIDs      mail.UIDSet // expunged messages, at most mail.MaxTouched; none: the mailbox itself, which is hidden
	To        mail.MailboxID
	Name      string // of the mailbox
	OverQuota bool   // even so
}

// Undelete proposes that expunged messages of u.Mailbox be inserted in u.To, or that
// the mailbox be there again under u.Name. Result of the first: as of mail.Copy;
// messages that are not there are passed over. Refusals: mail.ErrNoMailbox,
// ErrOverQuota, ErrLimit, ErrBadName; ErrExists: the name, or the mailbox.
func (b *Builder) Undelete(actor mail.Actor, id mail.OpID, account mail.AccountID, u Undelete) (*Proposal, error) {
	p := b.forAccount(actor, account)
	p.op.Id = commandID(id)
	if len(u.UIDs) > 0 {
		p.op.Kind = &operation.Operation_Undelete{Undelete: &operation.Undelete{
			Mailbox: u.Mailbox[:], Uids: protoUIDs(u.UIDs), To: u.To[:], OverQuota: u.OverQuota,
		}}
		return p.finish()
	}
	if err := checkName(u.Name); err != nil {
		return nil, err
	}
	p.op.Kind = &operation.Operation_UndeleteMailbox{UndeleteMailbox: &operation.UndeleteMailbox{
		Mailbox: u.Mailbox[:], Name: u.Name, OverQuota: u.OverQuota,
	}}
	return p.finish()
}

// Purge is what is to go for good: what was deleted at or before a time, and the
// history up to another; or all that was deleted in one mailbox.
type Purge struct {
	Deleted, History mail.Instant
	Mailbox          mail.MailboxID // zero: the whole account
}

// Everything is a time that everything was deleted before.
const Everything = mail.Instant(1<<63 - 1)

// Purge proposes a part of what is due for removal in an account, which may be a
// deleted one; Result.More asks for another.
func (b *Builder) Purge(actor mail.Actor, account mail.AccountID, what Purge) (*Proposal, error) {
	p := b.forAccount(actor, account)
	k := &operation.Purge{DeletedBefore: int64(what.Deleted), HistoryBefore: int64(what.History)}
	if !what.Mailbox.IsZero() {
		k.Mailbox = what.Mailbox[:]
	}
	p.op.Kind = &operation.Operation_Purge{Purge: k}
	return p.finish()
}

// Freeze proposes that an account refuse changes, or no longer.
func (b *Builder) Freeze(actor mail.Actor, account mail.AccountID, on bool, reason string) (*Proposal, error) {
	p := b.forAccount(actor, account)
	p.op.Kind = &operation.Operation_Freeze{Freeze: &operation.Freeze{On: on, Reason: reason}}
	return p.finish()
}

// Recent proposes that a user has been told of the messages up to uid.
func (b *Builder) Recent(account mail.AccountID, m mail.MailboxID, user string, uid mail.UID) (*Proposal, error) {
	p := b.forAccount(mail.Actor{User: user}, account)
	p.op.Kind = &operation.Operation_Recent{Recent: &operation.Recent{Mailbox: m[:], User: user, Uid: uint32(uid)}}
	return p.finish()
}

// Fork proposes a new history for the whole store: the first operation after a
// forced promotion or a restore. count is of the store's forks, this one included;
// 0 is one more than the copy has seen.
func (b *Builder) Fork(actor mail.Actor, count uint64) (*Proposal, error) {
	p := &proposing{Builder: b, op: b.operation(actor)}
	p.op.Kind = &operation.Operation_Fork{Fork: &operation.Fork{Count: count}}
	return p.finish()
}

func (b *Builder) forAccount(actor mail.Actor, account mail.AccountID) *proposing {
	op := b.operation(actor)
	op.Account = account[:]
	return &proposing{Builder: b, op: op}
}

// Delivery is one LMTP transaction's message for recipients of this store.
type Delivery struct {
	Transaction mail.TransactionID
	Actor       mail.Actor
	Body        mail.Body // staged here
	Recipients  []Recipient
}

// Recipient is one of a delivery's recipients.
type Recipient struct {
	Number  uint32 // within the transaction; with it, the delivery's id
	Account mail.AccountID
	// Mailbox, or the mailbox with Use, or INBOX: the first that there is.
	Mailbox mail.MailboxID
	// Name, if Mailbox is not there, is the name of another to use. The slot looks it
	// up: it is in no operation.
	Name         string
	Use          mail.SpecialUse
	Prefix       []byte // header lines for this recipient only, in canonical form
	Flags        mail.Flags
	Keywords     []string     // those that do not fit the mailbox's table are dropped
	InternalDate mail.Instant // 0: the operation's time
	// ContentKey is the hash by which a retry on another connection is known
	// (design: exactly once); zero for none.
	ContentKey [32]byte
	// EmailID and ThreadID are of a message that was here before; zero: drawn anew.
	EmailID  mail.EmailID
	ThreadID mail.ThreadID
}

// Deliver proposes a delivery. A body that [Ahead] lists has been placed.
func (b *Builder) Deliver(d Delivery) (*Proposal, error) {
	st, err := staged(d.Body)
	if err != nil {
		return nil, err
	}
	p := &proposing{Builder: b, op: b.operation(d.Actor)}
	out := &operation.Deliver{Transaction: d.Transaction[:], Body: p.body(st), References: st.references()}
	for _, r := range d.Recipients {
		o := &operation.Recipient{
			Number: r.Number, Account: r.Account[:], Use: string(r.Use), Prefix: r.Prefix,
			Flags: uint32(r.Flags), Keywords: r.Keywords, InternalDate: p.dateOr(r.InternalDate),
			// The prefixes differ, so each recipient's content is its own (RFC 8474 4).
			EmailId: p.emailID(r.EmailID), ThreadId: p.drawUnless(r.ThreadID),
		}
		if !r.Mailbox.IsZero() {
			o.Mailbox = r.Mailbox[:]
		}
		if r.ContentKey != [32]byte{} {
			o.ContentKey = r.ContentKey[:]
		}
		out.Recipients = append(out.Recipients, o)
	}
	p.op.Kind = &operation.Operation_Deliver{Deliver: out}
	return p.finish()
}

// DeliveryRef names one recipient of one transaction.
type DeliveryRef struct {
	Account     mail.AccountID
	Transaction mail.TransactionID
	Number      uint32
}

// Settle proposes what became of replies: the MTA went on after those confirmed;
// of those in doubt it may never have seen ours.
func (b *Builder) Settle(actor mail.Actor, confirmed, inDoubt []DeliveryRef) (*Proposal, error) {
	p := &proposing{Builder: b, op: b.operation(actor)}
	p.op.Kind = &operation.Operation_SettleDeliveries{SettleDeliveries: &operation.SettleDeliveries{
		Confirmed: protoRefs(confirmed), InDoubt: protoRefs(inDoubt),
	}}
	return p.finish()
}

func protoRefs(refs []DeliveryRef) []*operation.DeliveryRef {
	out := make([]*operation.DeliveryRef, 0, len(refs))
	for i := range refs {
		r := &refs[i]
		out = append(out, &operation.DeliveryRef{Account: r.Account[:], Transaction: r.Transaction[:], Number: r.Number})
	}
	return out
}
