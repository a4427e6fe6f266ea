package imapwire

import (
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
)

// maxKeyword is the longest keyword, in octets.
const maxKeyword = 255

// FlagList is the flags of STORE and APPEND.
type FlagList struct {
	System   mail.Flags
	Keywords []string
}

// flagList takes a parenthesised list of flags, empty or not.
func (l *lexer) flagList() (FlagList, error) {
	var f FlagList
	err := l.list(maxFlags, true, func() error { return l.flagInto(&f) })
	return f, err
}

// bareFlags takes flags without parentheses, which STORE allows.
func (l *lexer) bareFlags() (FlagList, error) {
	var f FlagList
	for {
		if err := l.flagInto(&f); err != nil {
			return FlagList{}, err
		}
		if !l.accept(' ') {
			return f, nil
		}
		if len(f.Keywords) == maxFlags {
			return FlagList{}, syntax("More than %d flags", maxFlags)
		}
	}
}

func (l *lexer) flagInto(f *FlagList) error {
	if !l.accept('\\') {
		word, err := l.keyword()
		if err == nil && !containsFold(f.Keywords, word) {
			f.Keywords = append(f.Keywords, word)
		}
		return err
	}
	name, err := l.atom()
	if err != nil {
		return err
	}
	if strings.EqualFold(name, "Recent") {
		return syntax("\\Recent cannot be set")
	}
	flag := mail.ParseFlag(`\` + name)
	if flag == 0 {
		return syntax("No such system flag")
	}
	f.System |= flag
	return nil
}

func (l *lexer) keyword() (string, error) {
	s, err := l.atom()
	if err == nil && len(s) > maxKeyword {
		err = syntax("Keyword is longer than %d octets", maxKeyword)
	}
	return s, err
}

func containsFold(list []string, s string) bool {
	for _, x := range list {
		if strings.EqualFold(x, s) {
			return true
		}
	}
	return false
}

// AppendFlags appends a parenthesised flag list; k are places in table.
func AppendFlags(dst []byte, f mail.Flags, k mail.Keywords, table []string) []byte {
	dst = append(dst, '(')
	n := len(dst)
	for _, name := range f.Names() {
		dst = append(dst, name...)
		dst = append(dst, ' ')
	}
	if !k.IsZero() {
		for i, name := range table {
			if k.Has(i) {
				dst = append(dst, name...)
				dst = append(dst, ' ')
			}
		}
	}
	if len(dst) > n {
		dst = dst[:len(dst)-1]
	}
	return append(dst, ')')
}
