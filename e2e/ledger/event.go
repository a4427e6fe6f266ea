package ledger

import (
	"fmt"
	"slices"
	"strings"
)

// Inbox is the mailbox that deliveries go to.
const Inbox = "INBOX"

// Token names the octets of a message. Identical messages share one.
type Token string

// Box names a mailbox of a user.
type Box struct{ User, Name string }

func (b Box) String() string { return b.User + " " + b.Name }

// Outcome is what the client was told.
type Outcome uint8

// The outcomes.
const (
	Acked   Outcome = iota // it is done
	Refused                // it is not done and will not be
	Unknown                // no answer, or one that promises nothing
)

// Event is one change that was asked for, or one look at a mailbox.
type Event struct {
	Begin, End int64 // places in the order of time: before the first octet was sent, after the last was read
	Outcome    Outcome
	Change     Change
}

// Change is one of the types of this file.
type Change interface{ boxes() []Box }

// Deliver is one attempt to deliver to one recipient.
type Deliver struct {
	User  string
	Token Token
}

// Append adds a message.
type Append struct {
	Box      Box
	Token    Token
	Flags    Flags
	UID      uint32 // as acknowledged
	Validity uint32 // as acknowledged
}

// Store changes the flags of messages.
type Store struct {
	Box   Box
	UIDs  []uint32
	Mode  Mode
	Flags Flags
}

// Copy copies messages, or moves them.
type Copy struct {
	From, To Box
	UIDs     []uint32
	Move     bool
	Targets  map[uint32]uint32 // as acknowledged: the new UID of each
	Validity uint32            // as acknowledged, of the target
}

// Expunge removes those of the messages that have \Deleted.
type Expunge struct {
	Box  Box
	UIDs []uint32
}

// Observe is a look at a whole mailbox. A look that failed is not recorded.
type Observe struct {
	Box           Box
	Validity      uint32
	Next          uint32 // UIDNEXT
	HighestModSeq uint64
	Messages      []Message
}

// Message is a message as it was seen.
type Message struct {
	UID    uint32
	Token  Token
	Flags  Flags
	ModSeq uint64
	Damage string // how its octets differ from what was sent; "" if they do not
}

func (d Deliver) boxes() []Box { return []Box{{d.User, Inbox}} }
func (a Append) boxes() []Box  { return []Box{a.Box} }
func (s Store) boxes() []Box   { return []Box{s.Box} }
func (c Copy) boxes() []Box    { return []Box{c.From, c.To} }
func (e Expunge) boxes() []Box { return []Box{e.Box} }
func (o Observe) boxes() []Box { return []Box{o.Box} }

// Mode says how Store's flags combine with those that are set.
type Mode uint8

// The modes of STORE: FLAGS, +FLAGS, -FLAGS.
const (
	Replace Mode = iota
	Add
	Remove
)

// Flags is a set of flags and keywords in one form: lower case, sorted, with one
// space between. \Recent is never in it.
type Flags string

// Deleted is the flag that Expunge looks for.
const Deleted = `\Deleted`

// NewFlags makes a set.
func NewFlags(names ...string) Flags {
	var low []string
	for _, n := range names {
		if n = strings.ToLower(n); n != `\recent` && n != "" {
			low = append(low, n)
		}
	}
	slices.Sort(low)
	return Flags(strings.Join(slices.Compact(low), " "))
}

// Has reports whether name is in f.
func (f Flags) Has(name string) bool {
	return slices.Contains(f.Names(), strings.ToLower(name))
}

// Names returns the flags one by one.
func (f Flags) Names() []string { return strings.Fields(string(f)) }

// Apply returns f changed by o.
func (f Flags) Apply(m Mode, o Flags) Flags {
	switch m {
	case Add:
		return NewFlags(append(f.Names(), o.Names()...)...)
	case Remove:
		return NewFlags(slices.DeleteFunc(f.Names(), o.Has)...)
	default:
		return o
	}
}

// Violation is something that does not fit.
type Violation struct {
	Box   Box
	UID   uint32 // 0 if it is not about one
	Token Token  // "" if it is not about one
	What  string
}

func (v Violation) String() string {
	s := v.Box.String()
	if v.UID != 0 {
		s += fmt.Sprintf(" UID %d", v.UID)
	}
	if v.Token != "" {
		s += " (" + string(v.Token) + ")"
	}
	return s + ": " + v.What
}
