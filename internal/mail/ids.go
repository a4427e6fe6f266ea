package mail

import (
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"time"
)

// AccountID names an account for ever. Its address is a directory entry that may change.
type AccountID [16]byte

// String is 32 lower-case hexadecimal digits.
func (a AccountID) String() string { return hex.EncodeToString(a[:]) }

// IsZero reports whether a names no account.
func (a AccountID) IsZero() bool { return a == AccountID{} }

// MarshalText implements encoding.TextMarshaler.
func (a AccountID) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *AccountID) UnmarshalText(b []byte) error {
	if len(b) != 2*len(a) {
		return fmt.Errorf("account id %q: want %d hexadecimal digits", b, 2*len(a))
	}
	_, err := hex.Decode(a[:], b)
	return err
}

// MailboxID names a mailbox for ever; a name created again gets a new one.
type MailboxID [16]byte

// EmailID is the same for every copy of the same content (RFC 8474).
type EmailID [16]byte

// ThreadID groups messages; drawn once and never changed (RFC 8474).
type ThreadID [16]byte

var objectID = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// IsZero reports whether m names no mailbox.
func (m MailboxID) IsZero() bool { return m == MailboxID{} }

// String is the MAILBOXID of RFC 8474: "F" and lower-case base32.
func (m MailboxID) String() string { return "F" + objectID.EncodeToString(m[:]) }

// MarshalText implements encoding.TextMarshaler: the same.
func (m MailboxID) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *MailboxID) UnmarshalText(b []byte) error {
	if len(b) == 0 || b[0] != 'F' || len(b) != 1+objectID.EncodedLen(len(m)) {
		return fmt.Errorf("mailbox id %q: want F and %d characters", b, objectID.EncodedLen(len(m)))
	}
	if _, err := objectID.Decode(m[:], b[1:]); err != nil {
		return fmt.Errorf("mailbox id %q: %w", b, err)
	}
	return nil
}

// String is the EMAILID of RFC 8474: "M" and lower-case base32.
func (e EmailID) String() string { return "M" + objectID.EncodeToString(e[:]) }

// String is the THREADID of RFC 8474: "T" and lower-case base32.
func (t ThreadID) String() string { return "T" + objectID.EncodeToString(t[:]) }

// UID names a message in its mailbox; never 0, never used twice.
type UID uint32

// ModSeq is an account's change counter (63 bit). Every operation that changes
// something draws one value for all it changes.
type ModSeq uint64

// UIDValidity is fixed for the life of a mailbox.
type UIDValidity uint32

// SessionID is a client session at a front end, 128 random bits.
type SessionID [16]byte

// OpID makes a change repeatable: the same id gives the same Result and no
// second effect (design: exactly once). Number rises within a session; Chunk
// tells apart the parts of one large command.
type OpID struct {
	Session SessionID
	Number  uint64
	Chunk   uint32
}

// TransactionID is one LMTP transaction, 128 bits drawn by the router at MAIL.
type TransactionID [16]byte

// String is 32 lower-case hexadecimal digits: what the log and the MTA see.
func (t TransactionID) String() string { return hex.EncodeToString(t[:]) }

// Actor answers "who did this?" and stays with the operation in the journal.
type Actor struct {
	User    string // as authenticated, or "" for a delivery
	By      string // the authorising user of a proxy log-in, or ""
	Session SessionID
	Remote  string // the client's address
	Command string // "UID STORE", "LMTP", "purge"
	QueueID string // the MTA's, for a delivery
}

// Instant is a moment as the state keeps it: microseconds since 1970 UTC.
type Instant int64

// InstantOf converts t.
func InstantOf(t time.Time) Instant { return Instant(t.UnixMicro()) }

// Time converts i to UTC.
func (i Instant) Time() time.Time { return time.UnixMicro(int64(i)).UTC() }
