package imapwire

import (
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
)

// SetACL is SETACL, and DELETEACL with mail.DeleteGrant (RFC 4314 3.1, 3.2).
type SetACL struct {
	Mailbox    string
	Identifier string
	Mode       mail.ACLMode
	Rights     mail.Rights
}

// GetACL is GETACL and MYRIGHTS (RFC 4314 3.3, 3.5).
type GetACL struct{ Mailbox string }

// ListRights is LISTRIGHTS (RFC 4314 3.4).
type ListRights struct{ Mailbox, Identifier string }

func (l *lexer) setACL() (any, error) {
	name, who, err := l.granted()
	if err != nil {
		return nil, err
	}
	a := &SetACL{Mailbox: name, Identifier: who}
	text, err := l.argAstring()
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasPrefix(text, "+"):
		a.Mode, text = mail.AddRights, text[1:]
	case strings.HasPrefix(text, "-"):
		a.Mode, text = mail.RemoveRights, text[1:]
	}
	var ok bool
	if a.Rights, ok = mail.ParseRights(text); !ok {
		return nil, syntax("No such right") // RFC 4314 3.1: never silently ignored
	}
	return a, nil
}

func (l *lexer) deleteACL() (any, error) {
	name, who, err := l.granted()
	return &SetACL{Mailbox: name, Identifier: who, Mode: mail.DeleteGrant}, err
}

func (l *lexer) getACL() (any, error) {
	name, err := l.argMailbox()
	return &GetACL{name}, err
}

func (l *lexer) listRights() (any, error) {
	name, who, err := l.granted()
	return &ListRights{name, who}, err
}

// granted takes a mailbox name and an identifier.
func (l *lexer) granted() (name, who string, err error) {
	if name, err = l.argMailbox(); err != nil {
		return "", "", err
	}
	who, err = l.argAstring()
	return name, who, err
}
