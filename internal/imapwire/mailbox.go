package imapwire

import (
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// mailbox takes a mailbox name: UTF-8 in normal form C, INBOX, alone or as the
// first component, in upper case.
func (l *lexer) mailbox() (string, error) {
	s, err := l.astring()
	if err != nil {
		return "", err
	}
	return l.name(s)
}

// pattern takes a mailbox name in which "%" and "*" may stand.
func (l *lexer) pattern() (string, error) {
	s, err := l.atomOrString(isListChar)
	if err != nil {
		return "", err
	}
	return l.name(s)
}

func (l *lexer) name(s string) (string, error) {
	switch {
	case l.utf8 && !utf8.ValidString(s):
		return "", syntax("Mailbox name is not valid UTF-8")
	case l.utf8:
	case utf8.ValidString(s) && strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }):
		// Some clients send names as they are to a server that offers IMAP4rev2, without
		// enabling it. Modified UTF-7 has no such octets, so they can mean nothing else.
	case strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }):
		return "", syntax("Mailbox name is not valid UTF-8")
	default:
		var err error
		if s, err = DecodeUTF7(s); err != nil {
			return "", &SyntaxError{No: true, Code: CodeCannot, Text: "Mailbox name is " + err.Error()}
		}
	}
	s = upperInbox(s)
	normal := norm.NFC.String(s)
	if l.given = ""; normal != s {
		l.given = s
	}
	return normal, nil
}

// isNoName reports that a string was well-formed, but is no name of a mailbox.
func isNoName(err error) bool {
	e, ok := errors.AsType[*SyntaxError](err)
	return ok && e.No
}

// upperInbox is a name whose first component, if that is INBOX, is in upper case.
func upperInbox(s string) string {
	const inbox = "INBOX"
	if n := len(inbox); len(s) >= n && strings.EqualFold(s[:n], inbox) && (len(s) == n || s[n] == '/') {
		return inbox + s[n:]
	}
	return s
}

// AppendMailbox appends a mailbox name, in modified UTF-7 or, if utf8 is set, as it is.
func AppendMailbox(dst []byte, name string, utf8 bool) []byte {
	if utf8 {
		return appendName(dst, name)
	}
	if printable(name) && strings.IndexByte(name, '&') < 0 {
		return AppendAString(dst, name)
	}
	return AppendAString(dst, string(AppendUTF7(nil, name)))
}

// appendName appends UTF-8 as RFC 6855 3 has it: quoted strings may contain it.
func appendName(dst []byte, name string) []byte {
	for i := range len(name) {
		if name[i] >= 0x80 {
			return appendQuoted(dst, name)
		}
	}
	return AppendAString(dst, name)
}
