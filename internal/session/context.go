package session

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/tandemail/tandemail/internal/fields"
	"github.com/tandemail/tandemail/internal/mail"
)

// Context is a SEARCH or SORT whose result the client asked to be kept up to date
// (RFC 5267).
type Context struct {
	Tag     string
	Program []byte // the command, its message numbers as UIDs
	Members mail.UIDSet
}

// Bounds of contexts, so that a token with all of them is far below MaxToken.
const (
	MaxContexts       = 4
	MaxContextProgram = 8 << 10 // octets
	MaxContextRanges  = 10_000  // of Members
)

// ContextChange is how a forwarded unit changes one context: with a Program it is a
// new one, with Gone it is no more, else its members change.
type ContextChange struct {
	Tag            string
	Program        []byte
	Gone           bool
	Added, Removed mail.UIDSet
}

func (c *ContextChange) append(dst []byte) []byte {
	dst = fields.AppendString(dst, c.Tag)
	dst = fields.AppendString(dst, c.Program)
	dst = fields.AppendBool(dst, c.Gone)
	dst = fields.AppendSet(dst, c.Added)
	return fields.AppendSet(dst, c.Removed)
}

func appendChanges(dst []byte, list []ContextChange) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for i := range list {
		dst = list[i].append(dst)
	}
	return dst
}

// maxChanges bounds the changes of one delta: every context comes, changes and goes.
const maxChanges = 4 * MaxContexts

func (d decoder) changes() []ContextChange {
	var list []ContextChange
	for range d.Uint(maxChanges) {
		c := ContextChange{Tag: d.String(maxName)}
		if program := d.Octets(MaxContextProgram); len(program) > 0 {
			c.Program = program
		}
		c.Gone, c.Added, c.Removed = d.Bool(), d.set(), d.set()
		list = append(list, c)
	}
	return list
}

// applyContext changes the contexts of t. ErrMalformed.
func (t *Token) applyContext(c ContextChange) error {
	i := slices.IndexFunc(t.Contexts, func(x Context) bool { return x.Tag == c.Tag })
	switch isNew := len(c.Program) > 0; {
	case isNew && (i >= 0 || len(t.Contexts) == MaxContexts), !isNew && i < 0:
		return fmt.Errorf("apply delta: it changes search %q, of %d: %w", c.Tag, len(t.Contexts), ErrMalformed)
	case isNew:
		t.Contexts = append(slices.Clone(t.Contexts), Context{c.Tag, slices.Clone(c.Program), c.Added})
	case c.Gone:
		t.Contexts = slices.Delete(slices.Clone(t.Contexts), i, i+1)
	default:
		t.Contexts = slices.Clone(t.Contexts)
		t.Contexts[i].Members = t.Contexts[i].Members.Union(c.Added).Minus(c.Removed)
	}
	return nil
}
