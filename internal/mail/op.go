package mail

// Op is a change of one account. The types of this file are all there are.
// Names are NFC UTF-8 with Separator between components.
type Op interface{ isOp() }

// Append adds messages to a mailbox, all or none (APPEND, MULTIAPPEND).
// Result: Mailbox, UIDValidity, UIDs in order, ModSeq.
// With Replaces that message is removed in the same operation (REPLACE, RFC 8508); its
// room is free for the new ones, and Result.Source names it.
// Refusals: ErrNoMailbox, ErrNoMessage (the replaced one), ErrOverQuota, ErrLimit.
type Append struct {
	Mailbox  MailboxID
	Messages []NewMessage
	Replaces *Replaced
}

// Replaced is the message that an Append replaces.
type Replaced struct {
	Mailbox MailboxID
	UID     UID
}

// NewMessage is a message to be added. Its Body was staged on the same Account.
type NewMessage struct {
	Body         Body
	Flags        Flags
	Keywords     []string
	InternalDate Instant
}

// StoreMode says how Store's flags combine with those that are set.
type StoreMode uint8

// The modes of STORE: FLAGS, +FLAGS, -FLAGS.
const (
	ReplaceFlags StoreMode = iota
	AddFlags
	RemoveFlags
)

// Store changes flags. Messages that do not exist are passed over; those changed
// after UnchangedSince are left and reported in Result.Modified (RFC 7162).
// Setting what is set changes nothing and draws no MODSEQ.
// At most MaxTouched UIDs. Result: ModSeq (0: nothing changed), UIDs changed, Modified.
// Refusals: ErrNoMailbox, ErrLimit (keyword table full).
type Store struct {
	Mailbox        MailboxID
	UIDs           UIDSet
	Mode           StoreMode
	Flags          Flags
	Keywords       []string
	UnchangedSince *ModSeq
}

// Copy copies messages with their flags, all or none. Result: Mailbox (target),
// UIDValidity of the target, Source and UIDs pairwise in ascending order, ModSeq.
// UIDs that do not exist are passed over.
// Refusals: ErrNoMailbox (source or target gone), ErrOverQuota, ErrLimit.
type Copy struct {
	From MailboxID
	UIDs UIDSet
	To   MailboxID
}

// Move is Copy and the removal of the originals in one operation (RFC 6851).
// At most MaxTouched UIDs; Result as for Copy.
type Move struct {
	From MailboxID
	UIDs UIDSet
	To   MailboxID
}

// Expunge removes those of UIDs that carry \Deleted when it takes effect, or all of
// them if Unmarked says so.
// At most MaxTouched are removed; Result.More says that others are left.
// Result: UIDs removed, ModSeq (0: none), More. Refusal: ErrNoMailbox.
type Expunge struct {
	Mailbox  MailboxID
	UIDs     UIDSet
	Unmarked bool
}

// Create makes a mailbox. Result: Mailbox, UIDValidity.
// Missing superiors stay computed names. Refusals: ErrExists, ErrLimit, ErrBadName, ErrUseTaken.
type Create struct {
	Name string
	Use  SpecialUse
}

// Delete hides a mailbox for the retention time; its inferiors stay.
// Refusals: ErrNoMailbox, ErrCannot (INBOX), ErrHasChildren (a name without a mailbox).
type Delete struct{ Name string }

// Rename renames a mailbox and its inferiors at once. Renaming INBOX creates
// the new name and moves the messages there, INBOX stays (RFC 9051 6.3.6).
// Subscriptions are untouched. Refusals: ErrNoMailbox, ErrExists, ErrBadName, ErrCannot, ErrLimit.
type Rename struct{ From, To string }

// Subscribe adds or removes a name of the subscription list; the name need not exist.
type Subscribe struct {
	Name string
	On   bool
}

// SetQuota replaces the limits of the account. 0 means none.
type SetQuota struct{ LimitMessages, LimitOctets int64 }

func (Append) isOp()    {}
func (Store) isOp()     {}
func (Copy) isOp()      {}
func (Move) isOp()      {}
func (Expunge) isOp()   {}
func (Create) isOp()    {}
func (Delete) isOp()    {}
func (Rename) isOp()    {}
func (Subscribe) isOp() {}
func (SetQuota) isOp()  {}

// Result of an operation that took effect. Which fields are set, each Op says.
type Result struct {
	ModSeq      ModSeq // 0: nothing changed
	Mailbox     MailboxID
	UIDValidity UIDValidity
	UIDs        UIDSet
	Source      UIDSet
	Modified    UIDSet
	More        bool
}
