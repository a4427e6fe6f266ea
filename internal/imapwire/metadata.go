package imapwire

import (
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
)

// GetMetadata is GETMETADATA (RFC 5464 4.2). The empty name is the server.
type GetMetadata struct {
	Mailbox string
	MaxSize *uint64
	Depth   Depth
	Entries []string // as mail.EntryName gives them, each once
}

// Depth is how far below an entry others are asked for as well.
type Depth uint8

// The depths.
const (
	DepthNone Depth = iota
	DepthOne
	DepthAll
)

var depths = map[string]Depth{"0": DepthNone, "1": DepthOne, "INFINITY": DepthAll}

// SetMetadata is SETMETADATA (RFC 5464 4.3).
type SetMetadata struct {
	Mailbox string
	Entries []mail.Metadata // nil: to be removed
}

// getMetadata takes options before the mailbox name, as the RFC was first printed, and
// behind it, as its examples and errata have it.
func (l *lexer) getMetadata() (any, error) {
	a := new(GetMetadata)
	if l.pos+1 < len(l.text) && l.text[l.pos+1] == '(' {
		l.pos++
		if err := l.metadataOptions(a); err != nil {
			return nil, err
		}
	}
	var err error
	if a.Mailbox, err = l.argMailbox(); err != nil {
		return nil, err
	}
	if err = l.space(); err != nil {
		return nil, err
	}
	if l.atMetadataOptions() {
		if err = l.metadataOptions(a); err != nil {
			return nil, err
		}
		if err = l.space(); err != nil {
			return nil, err
		}
	}
	a.Entries, err = l.entries()
	return a, err
}

// atMetadataOptions tells a list of options from one of entries, which begin with "/".
func (l *lexer) atMetadataOptions() bool {
	if l.peek() != '(' || l.pos+1 >= len(l.text) {
		return false
	}
	c := l.text[l.pos+1] | 0x20
	return c == 'm' || c == 'd'
}

func (l *lexer) metadataOptions(a *GetMetadata) error {
	return l.list(maxItems, false, func() error {
		name, err := l.word()
		if err != nil {
			return err
		}
		if err := l.space(); err != nil {
			return err
		}
		switch name {
		case "MAXSIZE":
			n, err := l.number(1<<32 - 1)
			a.MaxSize = &n
			return err
		case "DEPTH":
			w, err := l.word()
			if err != nil {
				return err
			}
			var ok bool
			if a.Depth, ok = depths[w]; !ok {
				return syntax("DEPTH is 0, 1 or infinity")
			}
			return nil
		}
		return syntax("No such GETMETADATA option")
	})
}

// entries takes one entry's name, or a list of them.
func (l *lexer) entries() ([]string, error) {
	var list []string
	one := func() error {
		name, err := l.entry()
		if err == nil && !slices.Contains(list, name) {
			list = append(list, name)
		}
		return err
	}
	if l.peek() != '(' {
		return list, one()
	}
	err := l.list(maxItems, false, one)
	return list, err
}

func (l *lexer) entry() (string, error) {
	s, err := l.astring()
	if err != nil {
		return "", err
	}
	name, ok := mail.EntryName(s)
	if !ok {
		return "", syntax("Not a valid entry name")
	}
	return name, nil
}

func (l *lexer) setMetadata() (any, error) {
	name, err := l.argMailbox()
	if err != nil {
		return nil, err
	}
	if err := l.space(); err != nil {
		return nil, err
	}
	a := &SetMetadata{Mailbox: name}
	return a, l.list(mail.MaxMetadataChanges, false, func() error {
		name, err := l.entry()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(a.Entries, func(e mail.Metadata) bool { return e.Name == name }) {
			return syntax("An entry is named twice")
		}
		if err := l.space(); err != nil {
			return err
		}
		value, err := l.metadataValue()
		a.Entries = append(a.Entries, mail.Metadata{Name: name, Value: value})
		return err
	})
}

// metadataValue takes a string, a literal8 or NIL.
func (l *lexer) metadataValue() ([]byte, error) {
	if l.peek() == '~' && l.atLiteral() {
		lit, err := l.literal()
		switch {
		case err != nil:
			return nil, err
		case lit.Spool != nil:
			return nil, syntax("Literal of %d octets is too large here", lit.Size)
		}
		return slices.Concat([]byte{}, lit.Data), nil
	}
	s, ok, err := l.nstring()
	if err != nil || !ok {
		return nil, err
	}
	return []byte(s), nil
}

// AppendOctets appends b as a string, or as a literal8 if it has a NUL.
func AppendOctets(dst, b []byte) []byte {
	if slices.Contains(b, 0) {
		return append(AppendLiteralHead(dst, int64(len(b)), true), b...)
	}
	return AppendString(dst, string(b))
}
