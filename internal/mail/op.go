package mail

// Op is a change of one account. The types of this file are all there are.
// Names are NFC UTF-8 with Separator between components.
//
// Of a user who is not the owner (Account.As), and of an owner who took rights from
// himself, each op needs rights: ErrNoPerm if they are missing, ErrNoMailbox in place of
// it where the user has none at all. Flags that the user may not set are left as they
// are. A user's \Seen is his own, all other flags are everybody's.
type Op interface{ isOp() }

// Append adds messages to a mailbox, all or none (APPEND, MULTIAPPEND).
// Result: Mailbox, UIDValidity, UIDs in order, ModSeq.
// With Replaces that message is removed in the same operation (REPLACE, RFC 8508); its
// room is free for the new ones, and Result.Source names it.
// Refusals: ErrNoMailbox, ErrNoMessage (the replaced one), ErrOverQuota, ErrLimit, ErrCannot (a UIDL that is none).
// Needs i; t and e where a message is replaced.
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
	// EmailID and ThreadID are of a message in another account that this is a copy of;
	// zero: drawn anew. A thread that is known by what the message refers to prevails.
	EmailID  EmailID
	ThreadID ThreadID
	// UIDL is the id that the message had in the maildrop of another server it was imported
	// from: see ValidUIDL. "": none.
	UIDL string
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
// Needs one of s, t and w, of which the flags named are; others are passed over.
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
// Needs r, and i of the target. What others than the user have seen, they have seen of
// the copies too.
type Copy struct {
	From MailboxID
	UIDs UIDSet
	To   MailboxID
}

// Move is Copy and the removal of the originals in one operation (RFC 6851).
// At most MaxTouched UIDs; Result as for Copy. Needs t and e as well.
type Move struct {
	From MailboxID
	UIDs UIDSet
	To   MailboxID
}

// Expunge removes those of UIDs that carry \Deleted when it takes effect, or all of
// them if Unmarked says so.
// At most MaxTouched are removed; Result.More says that others are left.
// Result: UIDs removed, ModSeq (0: none), More. Refusal: ErrNoMailbox. Needs e.
type Expunge struct {
	Mailbox  MailboxID
	UIDs     UIDSet
	Unmarked bool
}

// Create makes a mailbox. Result: Mailbox, UIDValidity.
// Missing superiors stay computed names. Refusals: ErrExists, ErrLimit, ErrBadName, ErrUseTaken.
// The new mailbox has the grants of the nearest mailbox above, of which k is needed; where
// there is none it has no grants, and none but the owner may make it.
type Create struct {
	Name string
	Use  SpecialUse
}

// Delete hides a mailbox for the retention time; its inferiors stay.
// Refusals: ErrNoMailbox, ErrCannot (INBOX), ErrHasChildren (a name without a mailbox).
// Needs x.
type Delete struct{ Name string }

// Rename renames a mailbox and its inferiors at once. Renaming INBOX creates
// the new name and moves the messages there, INBOX stays (RFC 9051 6.3.6).
// Subscriptions and grants are untouched. Refusals: ErrNoMailbox, ErrExists, ErrBadName, ErrCannot, ErrLimit.
// Needs x of all that are renamed, and k as Create does; INBOX is its owner's to rename.
type Rename struct{ From, To string }

// Subscribe adds or removes a name of the subscription list; the name need not exist. The
// list is the owner's, as the quota is.
type Subscribe struct {
	Name string
	On   bool
}

// SetACL changes what a user may do with a mailbox. A user without rights has no grant;
// the owner has one if it says less than everything.
// Refusals: ErrNoMailbox, ErrLimit (MaxGrants). Needs a.
type SetACL struct {
	Mailbox MailboxID
	User    AccountID // zero: anyone
	Mode    ACLMode
	Rights  Rights
}

// ACLMode says how SetACL's rights combine with those that are granted.
type ACLMode uint8

// The modes of SETACL, and DELETEACL.
const (
	ReplaceRights ACLMode = iota
	AddRights
	RemoveRights
	DeleteGrant
)

// SetQuota replaces the limits of the account. 0 means none.
type SetQuota struct{ LimitMessages, LimitOctets int64 }

// SetMetadata sets entries of a mailbox, of the account itself for the zero id, or
// removes those whose Value is nil: all of them or none. What is so already draws no
// MODSEQ. At most MaxMetadataChanges. Below /shared it needs the right w. Result: ModSeq
// (0: nothing changed). Refusals: ErrNoMailbox; ErrNoPerm; ErrCannot: below /private, by
// a user who is not the owner; ErrBadName; ErrTooLarge: a value; ErrLimit: too many
// entries; ErrOverQuota: too many octets.
type SetMetadata struct {
	Mailbox MailboxID
	Entries []Metadata
}

// SetAccess makes the owner's key for URLs of a mailbox, of this account or of another
// one, unless there is one (RFC 4467 2.2): who proposes it draws it. With Drop the key is
// removed, or all of them for the zero id. It draws no MODSEQ.
// Refusals: ErrNoMailbox: the zero id, a deleted mailbox of this account; ErrLimit
// (MaxAccessKeys); ErrNoPerm, to a user who is not the owner.
type SetAccess struct {
	Mailbox MailboxID
	Drop    bool
}

func (Append) isOp()      {}
func (Store) isOp()       {}
func (Copy) isOp()        {}
func (Move) isOp()        {}
func (Expunge) isOp()     {}
func (Create) isOp()      {}
func (Delete) isOp()      {}
func (Rename) isOp()      {}
func (Subscribe) isOp()   {}
func (SetACL) isOp()      {}
func (SetQuota) isOp()    {}
func (SetMetadata) isOp() {}
func (SetAccess) isOp()   {}

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
