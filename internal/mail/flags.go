package mail

import "strings"

// Flags are the system flags of a message (RFC 9051 2.3.2). \Recent is none of them.
type Flags uint8

// The system flags.
const (
	Seen Flags = 1 << iota
	Answered
	Flagged
	Deleted
	Draft

	AllFlags = Seen | Answered | Flagged | Deleted | Draft
)

var flagNames = []struct {
	flag Flags
	name string
}{
	{Answered, `\Answered`},
	{Flagged, `\Flagged`},
	{Deleted, `\Deleted`},
	{Seen, `\Seen`},
	{Draft, `\Draft`},
}

// Names lists f's flags as IMAP writes them.
func (f Flags) Names() []string {
	var names []string
	for _, n := range flagNames {
		if f&n.flag != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// ParseFlag returns the system flag of that name, in any case; 0 if it is none.
func ParseFlag(name string) Flags {
	for _, n := range flagNames {
		if strings.EqualFold(n.name, name) {
			return n.flag
		}
	}
	return 0
}

// MaxKeywords is the size of a mailbox's append-only keyword table.
const MaxKeywords = 128

// Keywords is a set of places in a mailbox's keyword table.
type Keywords [MaxKeywords / 64]uint64

// Has reports whether place i is in k.
func (k Keywords) Has(i int) bool { return k[i/64]&(1<<(i%64)) != 0 }

// With returns k with place i added.
func (k Keywords) With(i int) Keywords { k[i/64] |= 1 << (i % 64); return k }

// IsZero reports whether k is empty.
func (k Keywords) IsZero() bool { return k == Keywords{} }

// Or returns the union of k and o.
func (k Keywords) Or(o Keywords) Keywords {
	for i := range k {
		k[i] |= o[i]
	}
	return k
}

// AndNot returns k without o.
func (k Keywords) AndNot(o Keywords) Keywords {
	for i := range k {
		k[i] &^= o[i]
	}
	return k
}
