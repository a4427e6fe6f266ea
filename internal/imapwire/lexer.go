package imapwire

import (
	"bytes"
	"strings"
)

// lexer reads the tokens of one command. Its methods either take what they are
// named for or fail with a *SyntaxError.
type lexer struct {
	text     []byte
	pos      int
	literals []Literal // not yet taken
	utf8     bool      // mailbox names are UTF-8
	depth    int
	given    string // the last mailbox name as written, if not in normal form
}

func isAtomChar(c byte) bool {
	if c <= ' ' || c >= 0x7f {
		return false
	}
	switch c {
	case '(', ')', '{', '%', '*', '"', '\\', ']':
		return false
	}
	return true
}

func isAStringChar(c byte) bool { return isAtomChar(c) || c == ']' }
func isListChar(c byte) bool    { return isAStringChar(c) || c == '%' || c == '*' }
func isTagChar(c byte) bool     { return isAStringChar(c) && c != '+' }
func isDigit(c byte) bool       { return '0' <= c && c <= '9' }

// peek is the next octet, 0 at the end. A NUL is legal nowhere, so that is no
// ambiguity.
func (l *lexer) peek() byte {
	if l.pos < len(l.text) {
		return l.text[l.pos]
	}
	return 0
}

func (l *lexer) atEnd() bool { return l.pos >= len(l.text) }

// accept takes c if it is next.
func (l *lexer) accept(c byte) bool {
	if l.pos < len(l.text) && l.text[l.pos] == c {
		l.pos++
		return true
	}
	return false
}

func (l *lexer) expect(c byte) error {
	if l.accept(c) {
		return nil
	}
	if l.atEnd() {
		return syntax("Expected %q, not the end of the command", c)
	}
	return syntax("Expected %q at octet %d", c, l.pos+1)
}

func (l *lexer) space() error {
	if l.accept(' ') {
		return nil
	}
	if l.atEnd() {
		return syntax("Missing argument")
	}
	return syntax("Expected a space at octet %d", l.pos+1)
}

// end demands that nothing is left. One space too many is forgiven.
func (l *lexer) end() error {
	l.accept(' ')
	if l.atEnd() {
		return nil
	}
	return syntax("Unexpected text at octet %d", l.pos+1)
}

// while takes octets as long as f holds.
func (l *lexer) while(f func(byte) bool) string {
	start := l.pos
	for l.pos < len(l.text) && f(l.text[l.pos]) {
		l.pos++
	}
	return string(l.text[start:l.pos])
}

func (l *lexer) atom() (string, error) {
	if s := l.while(isAtomChar); s != "" {
		return s, nil
	}
	return "", l.expected("an atom")
}

// word is an atom in upper case.
func (l *lexer) word() (string, error) {
	s, err := l.atom()
	return strings.ToUpper(s), err
}

func (l *lexer) expected(what string) error {
	if l.atEnd() {
		return syntax("Expected %s, not the end of the command", what)
	}
	return syntax("Expected %s at octet %d", what, l.pos+1)
}

// atLiteral reports whether a literal, or literal8, comes next.
func (l *lexer) atLiteral() bool {
	return l.peek() == '{' || l.peek() == '~' && l.pos+1 < len(l.text) && l.text[l.pos+1] == '{'
}

// literal takes the literal that comes next; its octets are not looked at.
func (l *lexer) literal() (Literal, error) {
	end := bytes.IndexByte(l.text[l.pos:], '\n')
	if !l.atLiteral() || end < 0 || len(l.literals) == 0 {
		return Literal{}, l.expected("a literal")
	}
	line := bytes.TrimSuffix(l.text[l.pos:l.pos+end], []byte{'\r'})
	a, ok := AnnouncementAt(line)
	if got := l.literals[0]; !ok || bytes.IndexByte(line, '}') != len(line)-1 || a != got.Announcement {
		return Literal{}, l.expected("a literal")
	}
	l.pos += end + 1
	lit := l.literals[0]
	l.literals = l.literals[1:]
	return lit, nil
}

// inline takes a literal that is an argument: it is in memory.
func (l *lexer) inline() (string, error) {
	lit, err := l.literal()
	if err != nil {
		return "", err
	}
	if lit.Spool != nil {
		return "", syntax("Literal of %d octets is too large here", lit.Size)
	}
	if lit.Binary {
		return "", syntax("A literal8 is not allowed here")
	}
	if bytes.IndexByte(lit.Data, 0) >= 0 {
		return "", syntax("A literal must not contain NUL")
	}
	return string(lit.Data), nil
}

func (l *lexer) quoted() (string, error) {
	if err := l.expect('"'); err != nil {
		return "", err
	}
	var b []byte
	for i := l.pos; i < len(l.text); i++ {
		switch c := l.text[i]; c {
		case '"':
			l.pos = i + 1
			return string(b), nil
		case '\\':
			i++
			if i == len(l.text) || l.text[i] != '"' && l.text[i] != '\\' {
				return "", syntax("Only a quote or a backslash may follow a backslash, at octet %d", i+1)
			}
			b = append(b, l.text[i])
		case 0, '\r', '\n':
			return "", syntax("Control octet in a quoted string at octet %d", i+1)
		default:
			b = append(b, c)
		}
	}
	return "", syntax("Quoted string does not end")
}

// str takes a string: quoted or literal.
func (l *lexer) str() (string, error) {
	switch {
	case l.peek() == '"':
		return l.quoted()
	case l.atLiteral():
		return l.inline()
	}
	return "", l.expected("a string")
}

func (l *lexer) astring() (string, error) { return l.atomOrString(isAStringChar) }

// atomOrString takes octets of an atom, or a string. "~" is one of an atom's
// unless a literal8 begins with it.
func (l *lexer) atomOrString(atom func(byte) bool) (string, error) {
	if !l.atLiteral() {
		if s := l.while(atom); s != "" {
			return s, nil
		}
	}
	return l.str()
}

// nstring takes a string or NIL; ok is false for NIL.
func (l *lexer) nstring() (s string, ok bool, err error) {
	if l.peek() == '"' || l.atLiteral() {
		s, err = l.str()
		return s, true, err
	}
	w, err := l.word()
	if err == nil && w != "NIL" {
		err = syntax("Expected a string or NIL")
	}
	return "", false, err
}

// list takes a parenthesised list of at most limit elements, each by one.
// An empty list is one if empty is set.
func (l *lexer) list(limit int, empty bool, one func() error) error {
	if err := l.expect('('); err != nil {
		return err
	}
	if empty && l.accept(')') {
		return nil
	}
	for n := 0; ; n++ {
		if n == limit {
			return syntax("More than %d elements in a list", limit)
		}
		if err := one(); err != nil {
			return err
		}
		if l.accept(')') {
			return nil
		}
		if err := l.space(); err != nil {
			return err
		}
	}
}

// nested calls f one level deeper.
func (l *lexer) nested(f func() error) error {
	if l.depth == maxNesting {
		return syntax("More than %d levels of nesting", maxNesting)
	}
	l.depth++
	defer func() { l.depth-- }()
	return f()
}
