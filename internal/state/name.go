package state

import (
	"strings"
	"unicode/utf8"

	"github.com/tandemail/tandemail/internal/mail"
)

// canonicalName writes INBOX, alone or as the first component, in upper case:
// it is the one name whose case means nothing (RFC 9051 5.1).
func canonicalName(name string) string {
	first, rest, more := strings.Cut(name, mail.Separator)
	if first == mail.Inbox || !equalFoldASCII(first, mail.Inbox) {
		return name
	}
	if !more {
		return mail.Inbox
	}
	return mail.Inbox + mail.Separator + rest
}

// validName applies the rules for mailbox names that need no Unicode tables.
// That a name is NFC is the proposer's to see to.
func validName(name string) bool {
	if name == "" || len(name) > mail.MaxName || !utf8.ValidString(name) {
		return false
	}
	for _, r := range name {
		switch {
		case r < 0x20, r == 0x7f, r == '*', r == '%', r == '\u2028', r == '\u2029':
			return false
		}
	}
	depth := 0
	for c := range strings.SplitSeq(name, mail.Separator) {
		if depth++; c == "" || len(c) > mail.MaxNameComponent {
			return false
		}
	}
	return depth <= mail.MaxDepth
}

// Octets that no name holds, so that keys of names sort as a tree: INBOX first,
// and inferiors right after their superior.
const (
	keyInbox     = 1
	keySeparator = 0
)

// name appends a canonical name in the order of the name map.
func (k key) name(name string) key {
	if rest, ok := strings.CutPrefix(name, mail.Inbox); ok && (rest == "" || rest[:1] == mail.Separator) {
		k, name = append(k, keyInbox), rest
	}
	at := len(k)
	k = append(k, name...)
	for i := at; i < len(k); i++ {
		if k[i] == mail.Separator[0] {
			k[i] = keySeparator
		}
	}
	return k
}

// keyName is the inverse of key.name.
func keyName(k []byte) string {
	var b strings.Builder
	for _, c := range k {
		switch c {
		case keyInbox:
			b.WriteString(mail.Inbox)
		case keySeparator:
			b.WriteString(mail.Separator)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func nameKey(dst key, a mail.AccountID, kind byte, name string) key {
	return accountKey(dst, a, kind).name(name)
}

// isInferior reports whether name is below superior.
func isInferior(name, superior string) bool {
	rest, ok := strings.CutPrefix(name, superior)
	return ok && strings.HasPrefix(rest, mail.Separator)
}

const maxKeyword = 100 // octets

// validKeyword: an atom that begins with no backslash (RFC 9051 flag-keyword).
func validKeyword(k string) bool {
	if k == "" || len(k) > maxKeyword {
		return false
	}
	for i := range len(k) {
		if c := k[i]; c <= 0x20 || c >= 0x7f || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			return false
		}
	}
	return true
}

// findKeyword returns the keyword's place in a table; case means nothing, in ASCII.
func findKeyword(table []string, k string) int {
	for i, t := range table {
		if equalFoldASCII(t, k) {
			return i
		}
	}
	return -1
}

// equalFoldASCII compares without regard to the case of A to Z, and of nothing else.
func equalFoldASCII(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lowerASCII(a[i]) != lowerASCII(b[i]) {
			return false
		}
	}
	return true
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
