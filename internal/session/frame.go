package session

import (
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// Version of the protocol. Open names the front end's; the master answers with
// its own if it can speak the other one, else with Failed.
const Version = 1

// MaxFrame is the largest payload of a frame, in octets.
const MaxFrame = 1 << 20

// Kind is a frame's type octet.
type Kind byte

// Frames from the front end.
const (
	KindOpen    Kind = 0x01
	KindCommand Kind = 0x02
	KindEndIdle Kind = 0x03
	KindClose   Kind = 0x04
	KindWatch   Kind = 0x05
)

// Frames from the master.
const (
	KindOpened Kind = 0x11
	KindUnit   Kind = 0x12
	KindStream Kind = 0x13
	KindData   Kind = 0x14
	KindDone   Kind = 0x15
	KindFailed Kind = 0x16
)

// Frame is one of the types of this file, by value.
type Frame interface{ kind() Kind }

// Protocol is what the client speaks.
type Protocol byte

// The protocols.
const (
	IMAP Protocol = 1
	POP3 Protocol = 2
)

// Open begins a session, after the client has been authenticated.
type Open struct {
	Version  uint32
	Session  mail.SessionID
	Protocol Protocol
	Account  mail.AccountID
	User     string        // as authenticated
	By       string        // authorising user of a proxy log-in, or ""
	Remote   string        // the client's address
	Epoch    cluster.Epoch // the highest seen of the account's store; a master below it refuses
	Token    []byte        // of the session that is resumed; empty: a new one
}

// Command is a piece of a client's command: its octets as the client sent them,
// literals included, continuations left out. Large ones come in several frames.
type Command struct {
	Number uint64
	Last   bool
	Octets []byte
}

// Watch is a command that no client sent: the client is quiet, and the master may tell
// what NOTIFY asked for until EndIdle. Its Done has no line.
type Watch struct{ Number uint64 }

// EndIdle says that the client ended the IDLE with this number, or sent something during
// a Watch. It may overtake the execution of that command, and may come after its end.
type EndIdle struct{ Number uint64 }

// Close ends the session: the client has gone. Nothing more is answered; a change
// that was proposed still happens.
type Close struct{}

// Opened answers Open. With it the front end makes the session's first [Token].
type Opened struct {
	Version uint32
	Epoch   cluster.Epoch // of the master
	Fork    uint64        // of the account
}

// Unit is response octets that the client gets whole or not at all. A large one
// comes in several frames of which only the last has Last and the delta.
type Unit struct {
	Command uint64
	N       uint32 // counts the units of a command, from 0
	Last    bool
	Delta   Delta
	Octets  []byte
}

// Stream begins a literal of a FETCH of Length octets. Data frames with those from
// Offset on follow. The unit before it ended with the literal's announcement.
// Offset is 0 unless a resumed session continues a literal.
type Stream struct {
	Command uint64
	UID     mail.UID
	Item    uint32 // counts the streams of a message, from 0
	Offset  int64
	Length  int64
}

// Data is octets of the literal that the last Stream began.
type Data struct{ Octets []byte }

// Done ends a command: Line is the tagged response with its line end.
type Done struct {
	Command uint64
	Delta   Delta
	Line    []byte
}

// Reason says why a session cannot go on at this master.
type Reason byte

// The reasons. After the first three the front end finds the master and resumes
// there; the others end the client's session with a BYE.
const (
	Moved        Reason = 1 // another master serves the account
	Busy         Reason = 2 // nothing happened; the command may be sent again
	Unknown      Reason = 3 // the command may have happened; ask under the same number
	Gone         Reason = 4 // the selected mailbox was deleted
	NotResumable Reason = 5 // the token cannot be continued truthfully
	Violation    Reason = 6 // the peer broke this protocol, or speaks another version
	Broken       Reason = 7 // a fault of the server in this session alone
	InUse        Reason = 8 // another session has the mailbox for itself (POP3)
)

// Failed ends the session at this master. Command is the one that has no Done, 0
// if there is none.
type Failed struct {
	Command uint64
	Reason  Reason
	Epoch   cluster.Epoch // the highest known to the master
	Text    string        // for a BYE and the log, one line
}

func (Open) kind() Kind    { return KindOpen }
func (Command) kind() Kind { return KindCommand }
func (EndIdle) kind() Kind { return KindEndIdle }
func (Close) kind() Kind   { return KindClose }
func (Watch) kind() Kind   { return KindWatch }
func (Opened) kind() Kind  { return KindOpened }
func (Unit) kind() Kind    { return KindUnit }
func (Stream) kind() Kind  { return KindStream }
func (Data) kind() Kind    { return KindData }
func (Done) kind() Kind    { return KindDone }
func (Failed) kind() Kind  { return KindFailed }
