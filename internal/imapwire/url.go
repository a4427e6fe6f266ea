package imapwire

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/tandemail/tandemail/internal/mail"
)

// URL names a message of one's own mailboxes, or a part of it.
type URL struct {
	Mailbox     string           // normal form
	UIDValidity mail.UIDValidity // 0: any
	UID         mail.UID
	Section     Section
	Offset      int64
	Count       int64 // 0: all behind Offset
}

var errURL = errors.New("not a URL of a message")

// ParseURL reads an IMAP URL (RFC 5092) that begins with "/": an absolute path at the
// server at hand. URLs with a server or with URLAUTH are no such ones: see ParseAuthURL.
func ParseURL(s string) (URL, error) {
	var u URL
	path, params, ok := cutFold(s, "/;UID=")
	if !ok || !strings.HasPrefix(path, "/") {
		return u, errURL
	}
	name, validity, given := cutFold(path[1:], ";UIDVALIDITY=")
	if given {
		n, err := parseNumber(validity, maxUint32)
		if err != nil || n == 0 {
			return u, errURL
		}
		u.UIDValidity = mail.UIDValidity(n)
	}
	name, ok = unescape(name)
	if !ok || name == "" || !utf8.ValidString(name) {
		return u, errURL
	}
	u.Mailbox = norm.NFC.String(upperInbox(name))
	params, partial, hasPartial := cutFold(params, "/;PARTIAL=")
	uid, section, hasSection := cutFold(params, "/;SECTION=")
	n, err := parseNumber(uid, maxUint32)
	if err != nil || n == 0 {
		return u, errURL
	}
	u.UID = mail.UID(n)
	if hasSection {
		if u.Section, ok = urlSection(section); !ok {
			return u, errURL
		}
	}
	if hasPartial {
		return u, u.partial(partial)
	}
	return u, nil
}

// Window is what the URL names of size octets: from where, and how many.
func (u *URL) Window(size int64) (from, n int64) {
	from = min(u.Offset, size)
	if n = size - from; u.Count > 0 {
		n = min(n, u.Count)
	}
	return from, n
}

func (u *URL) partial(s string) error {
	offset, count, limited := strings.Cut(s, ".")
	n, err := parseNumber(offset, maxInt63)
	if err != nil {
		return errURL
	}
	u.Offset = int64(n)
	if limited {
		if n, err = parseNumber(count, maxInt63); err != nil || n == 0 {
			return errURL
		}
		u.Count = int64(n)
	}
	return nil
}

func urlSection(s string) (Section, bool) {
	s, ok := unescape(s)
	if !ok || s == "" {
		return Section{}, false
	}
	l := &lexer{text: []byte("[" + s + "]")}
	section, err := l.section(false)
	return section, err == nil && l.atEnd()
}

// cutFold is strings.Cut at the first sep in any case.
func cutFold(s, sep string) (before, after string, found bool) {
	for i := 0; i+len(sep) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(sep)], sep) {
			return s[:i], s[i+len(sep):], true
		}
	}
	return s, "", false
}

func parseNumber(s string, limit uint64) (uint64, error) {
	if s == "" || !isDigit(s[0]) {
		return 0, errURL
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > limit {
		return 0, errURL
	}
	return n, nil
}

// unescape undoes "%HH".
func unescape(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(n))
		i += 2
	}
	return b.String(), true
}
