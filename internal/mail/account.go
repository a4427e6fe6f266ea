package mail

import (
	"context"
	"errors"
	"io"
	"iter"
)

// Account is all that imapd, pop3d, sieved and transfer know of a slot. No LSN,
// epoch or peer shows through it. Safe for concurrent use.
type Account interface {
	// As is the account as another user finds it, to whom its mailboxes, or some, are
	// shared (RFC 4314): Views show what that user may see and \Seen as they have set
	// it, and Do does what their rights allow, else ErrNoPerm. The owner's id, and
	// the zero id, give the account as its owner finds it, as does an Account that
	// nobody asked. Nothing is looked up: the user need not exist.
	As(user AccountID) Account
	// View is an immutable picture of everything committed so far; it never
	// blocks writers. Close it soon: it pins disk space. It fails with ErrMoved
	// when this slot may not serve reads.
	View(ctx context.Context) (View, error)
	// Stage takes a message's octets (in memory, or in a file above 1 MiB) after
	// making them canonical. Not durable yet. More than limit octets: ErrTooLarge,
	// with nothing kept. The caller closes the Body.
	Stage(ctx context.Context, r io.Reader, limit int64) (Body, error)
	// Do returns when the operation is committed and visible in the next View.
	// A refusal decided by the state (errors.Is with the sentinels below) is
	// stored under the id like a success. ErrMoved, ErrBusy: it did not happen.
	// ErrUnknown: it may have; ask again under the same OpID and get the first Result.
	Do(ctx context.Context, req Request) (Result, error)
	// Watch signals "look again" when mailbox m may have changed, or this account's access
	// key for it was removed, coalesced into a buffer of one; never what changed. The zero
	// id watches the whole account.
	Watch(m MailboxID) (ch <-chan struct{}, stop func())
	// SetRecent says that a session of the user has been told of the messages of m up
	// to upTo, and returns up to where one had been since this master is one, as far as
	// it remembers: of two that say so at once, one comes first. It waits for nothing,
	// and may be lost when the master is.
	SetRecent(m MailboxID, user string, upTo UID) (before UID)
	// Derived returns the derived data (envelope, structure) stored for contents under
	// that parser version, one element for each, nil when there is none. Many at once
	// cost less. SetDerived keeps it, best effort, on this machine only, and may keep it
	// in place of what was kept for that content under another version.
	Derived(version uint32, contents ...EmailID) [][]byte
	SetDerived(e EmailID, version uint32, data []byte)
}

// Request is one change, by whom, under which id.
type Request struct {
	ID    OpID
	Actor Actor
	Op    Op
}

// Body is a staged message.
type Body interface {
	Size() int64 // of the canonical octets
	Close() error
}

// View is an immutable picture of an account. Sequences end early only with a
// non-nil error as their last element. Not safe for concurrent use, except Open.
//
// For a user who is not the owner (Account.As) a mailbox in which they have no right is
// none, \Seen, unseen counters and MODSEQs are the user's, and there are no
// subscriptions. Which right a question needs is for the caller to ask.
type View interface {
	Close()
	Account() (AccountInfo, error)
	// Mailboxes yields every mailbox and every computed (\NonExistent) name in
	// the order of their names, INBOX first; to a user who is not the owner those with
	// the right l, and the names above them.
	Mailboxes() iter.Seq2[MailboxInfo, error]
	// Subscriptions yields the subscribed names, in order, existing or not.
	Subscriptions() iter.Seq2[string, error]
	// ACL lists whom the mailbox is granted to, ascending by id, anyone first. The owner
	// is among them only if his rights were changed. ErrNoMailbox.
	ACL(m MailboxID) ([]Grant, error)
	// Lookup finds a mailbox by name (INBOX in any case). ErrNoMailbox.
	Lookup(name string) (MailboxInfo, error)
	// Mailbox finds a mailbox by id, deleted ones excepted. ErrNoMailbox.
	Mailbox(id MailboxID) (MailboxInfo, error)
	// Flags yields the messages with UIDs in [lo, hi] whose MODSEQ is above since,
	// ascending by UID. Its cost grows with the pages that changed, not with the mailbox.
	Flags(m MailboxID, lo, hi UID, since ModSeq) iter.Seq2[MessageFlags, error]
	// Messages yields the messages with UIDs in [lo, hi], ascending.
	Messages(m MailboxID, lo, hi UID) iter.Seq2[Message, error]
	// Message returns one. ErrNoMessage.
	Message(m MailboxID, uid UID) (Message, error)
	// Expunged yields what was removed after since, in MODSEQ order; ErrBelowFloor
	// when since is below the mailbox's TombstoneFloor.
	Expunged(m MailboxID, since ModSeq) iter.Seq2[Tombstone, error]
	// Changed yields the mailboxes of which messages or flags changed after since, in the
	// order of their last changes, such as the user has a right in. It costs what changed.
	Changed(since ModSeq) iter.Seq2[MailboxInfo, error]
	// Events yields what happened to names, subscriptions and metadata after since, in
	// order, and to the reader's own rights; ErrBelowFloor when that is not known any more
	// so far back. To a user who is not the owner, of mailboxes with the right l, and of
	// such as he may have lost it in.
	Events(since ModSeq) iter.Seq2[Event, error]
	// Metadata yields the entries of a mailbox, of the account itself for the zero id,
	// whose names begin with prefix, in the order of their names; to a user who is not the
	// owner those of a mailbox below /shared. ErrNoMailbox.
	Metadata(m MailboxID, prefix string) iter.Seq2[Metadata, error]
	// AccessKey is the owner's key for URLs of a mailbox, of this account or of another
	// one (SetAccess): AccessKeySize octets that nobody is shown. nil: there is none, or
	// the user is not the owner.
	AccessKey(m MailboxID) ([]byte, error)
	// Recent is up to where a session of the user has been told of the messages of m,
	// 0 if none has. It may be behind after a change of master.
	Recent(m MailboxID, user string) (UID, error)
	// Open gives the content of a message, prefix first. It stays readable after
	// the View is closed, until it is closed itself. Safe for concurrent use.
	Open(ctx context.Context, msg Message) (Content, error)
	// OpenAll opens messages as Open does, each with its own outcome and in their order.
	// Of a batch it costs less than of each: up to some dozens, whose octets it may read.
	OpenAll(ctx context.Context, msgs []Message) []Opened
}

// Opened is what Open gives.
type Opened struct {
	Content Content
	Err     error
}

// Content is a message's octets.
type Content interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Outcomes that are not results of the state.
var (
	// ErrMoved: the account is served elsewhere now. It did not happen.
	ErrMoved = errors.New("account is served elsewhere")
	// ErrBusy: it did not happen; the same request may succeed soon.
	ErrBusy = errors.New("busy, try again")
	// ErrUnknown: it may have happened; the same OpID tells.
	ErrUnknown = errors.New("outcome unknown")
	// ErrOldCommand: a later command of this session is already there.
	ErrOldCommand = errors.New("command number is older than the session's last")
	// ErrFrozen: the account refuses changes for now.
	ErrFrozen = errors.New("account is frozen")
	// ErrFull: the disk is above its watermark; removing still works.
	ErrFull = errors.New("no space for new messages")
	// ErrTooLarge: more octets than the limit.
	ErrTooLarge = errors.New("message too large")
	// ErrCorrupt: stored octets do not match their checksum.
	ErrCorrupt = errors.New("stored message is damaged")
)

// Refusals: decided by the state, stored as the operation's result.
var (
	ErrNoAccount   = errors.New("no such account")
	ErrNoMailbox   = errors.New("no such mailbox")
	ErrNoMessage   = errors.New("no such message")
	ErrExists      = errors.New("mailbox already exists")
	ErrBadName     = errors.New("not a valid mailbox name")
	ErrHasChildren = errors.New("mailbox has inferior names")
	ErrCannot      = errors.New("not possible with this mailbox")
	ErrUseTaken    = errors.New("special use belongs to another mailbox")
	ErrOverQuota   = errors.New("over quota")
	ErrLimit       = errors.New("over a limit of the server")
	ErrNoPerm      = errors.New("not allowed by the mailbox's owner")
	ErrBelowFloor  = errors.New("changes that old are no longer listed")
)
