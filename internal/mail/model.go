package mail

// Account-wide limits (design: mail model). They are part of level 1: Apply
// decides by them, so they may change only with a level.
const (
	MaxMailboxes     = 10_000
	MaxNameComponent = 255   // octets
	MaxName          = 1_000 // octets
	MaxDepth         = 30
	MaxMessageSize   = 100 << 20 // octets
	MaxCopy          = 100_000   // messages of one COPY
	MaxGrants        = 1_000     // of one mailbox
	MaxAccessKeys    = 1_000     // of one account
	MaxTouched       = 5_000     // messages of one STORE, MOVE or EXPUNGE operation; callers split by Chunk
)

// AccessKeySize is how many octets a key for URLs has.
const AccessKeySize = 32

// Separator between the components of a mailbox name.
const Separator = "/"

// Inbox is the name of the mailbox that every account has; any case means it.
const Inbox = "INBOX"

// SpecialUse is a mailbox's RFC 6154 attribute, without the backslash; "" is none.
type SpecialUse string

// The special uses a new user gets, one mailbox each, and those that may be set.
const (
	UseAll     SpecialUse = "All"
	UseArchive SpecialUse = "Archive"
	UseDrafts  SpecialUse = "Drafts"
	UseFlagged SpecialUse = "Flagged"
	UseJunk    SpecialUse = "Junk"
	UseSent    SpecialUse = "Sent"
	UseTrash   SpecialUse = "Trash"
)

// AccountInfo is an account's own record.
type AccountInfo struct {
	ID     AccountID
	ModSeq ModSeq // highest used by any change in the account
	Fork   uint64 // forced promotions and restores so far
	Frozen bool   // refuses changes: after a skipped operation, or while it moves
	Quota  Quota
}

// Quota of an account. A limit of 0 means none.
type Quota struct {
	LimitMessages, LimitOctets int64
	UsedMessages, UsedOctets   int64
}

// MailboxInfo is a mailbox's record with its name.
type MailboxInfo struct {
	ID            MailboxID
	Name          string // NFC UTF-8, components joined by Separator
	UIDValidity   UIDValidity
	UIDNext       UID
	HighestModSeq ModSeq
	// TombstoneFloor: expunges at or below it are no longer listed one by one.
	TombstoneFloor ModSeq
	Messages       uint32
	Unseen         uint32
	Deleted        uint32
	Size           int64 // octets
	Use            SpecialUse
	Keywords       []string // the table; a message's Keywords are places in it
	Subscribed     bool
	Rights         Rights // of the user whose View this is
	Shared         bool   // there are grants: see View.ACL
	// NonExistent: only a component of others' names; all but Name is zero.
	NonExistent bool
}

// Message is what never changes about a message in a mailbox.
type Message struct {
	Mailbox      MailboxID
	UID          UID
	Size         int64 // octets of the content: prefix and extents
	InternalDate Instant
	SaveDate     Instant
	EmailID      EmailID
	ThreadID     ThreadID
	Created      ModSeq
	Prefix       []byte   // header lines added for this recipient only
	Extents      []Extent // where the received octets are
	// UIDL is that of the server from which the message was imported, "" if there is none.
	// It goes with COPY and MOVE, and so need not be the mailbox's only one.
	UIDL string
}

// MaxUIDL is the longest unique-id of POP3 (RFC 1939 7).
const MaxUIDL = 70

// ValidUIDL reports whether s can be a unique-id of POP3: 1 to MaxUIDL printable octets of
// ASCII without a space.
func ValidUIDL(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return s != "" && len(s) <= MaxUIDL
}

// Extent is a part of a stored body.
type Extent struct {
	Body   BodyID
	Offset int64
	Length int64
}

// BodyID names stored octets for ever; opaque above the slot.
type BodyID uint64

// MessageFlags is what changes about a message.
type MessageFlags struct {
	UID      UID
	Flags    Flags
	Keywords Keywords
	ModSeq   ModSeq // of the last change, creation included
}

// Tombstone says that UIDs left a mailbox by one operation.
type Tombstone struct {
	ModSeq ModSeq
	UIDs   UIDSet
}
