package imapwire

import (
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
)

var specialUses = []mail.SpecialUse{
	mail.UseAll, mail.UseArchive, mail.UseDrafts, mail.UseFlagged, mail.UseJunk, mail.UseSent, mail.UseTrash,
}

// create takes CREATE's arguments: a name and, in a list, USE (RFC 6154 3).
func (l *lexer) create() (any, error) {
	name, err := l.argMailbox()
	if err != nil {
		return nil, err
	}
	c := &Create{Mailbox: name, Given: l.given}
	if !l.accept(' ') || l.atEnd() {
		return c, nil
	}
	return c, l.list(maxItems, false, func() error {
		w, err := l.word()
		if err != nil {
			return err
		}
		if w != "USE" {
			return syntax("No such parameter of CREATE")
		}
		if err := l.space(); err != nil {
			return err
		}
		return l.list(maxItems, true, func() error { return l.specialUse(c) })
	})
}

func (l *lexer) specialUse(c *Create) error {
	if err := l.expect('\\'); err != nil {
		return err
	}
	name, err := l.atom()
	if err != nil {
		return err
	}
	for _, use := range specialUses {
		if strings.EqualFold(string(use), name) && (c.Use == "" || c.Use == use) {
			c.Use = use
			return nil
		}
	}
	return &SyntaxError{No: true, Code: CodeUseAttr, Text: "This special use, or a second one, is not possible"}
}
