package message

import (
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// charsetOf is the encoding of a charset's name: those of the WHATWG first, which
// are what senders mean, then IANA's. nil: unknown, US-ASCII or UTF-8, which
// [lenient] reads.
func charsetOf(name string) encoding.Encoding {
	name = lower(strings.TrimSpace(name))
	switch name {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "ansi_x3.4-1968", "unknown-8bit":
		return nil
	case "utf-16": // the WHATWG's is little endian; RFC 2781's has a mark, or is big endian
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	}
	if e, err := htmlindex.Get(name); err == nil && e != encoding.Replacement {
		return e
	}
	if e, err := ianaindex.MIME.Encoding(name); err == nil && e != nil {
		return e
	}
	return nil
}

// decodeCharset gives UTF-8, with U+FFFD for what a charset cannot explain; of
// text without a known charset it gives the octets, for decodeLenient.
func decodeCharset(r io.Reader, name string) io.Reader {
	if e := charsetOf(name); e != nil {
		return transform.NewReader(r, e.NewDecoder())
	}
	return r
}

// appendCharset appends text in UTF-8.
func appendCharset(dst []byte, text []byte, name string) []byte {
	if e := charsetOf(name); e != nil {
		if b, err := e.NewDecoder().Bytes(text); err == nil {
			return append(dst, b...)
		}
	}
	return appendLenient(dst, text)
}

// appendLenient keeps valid UTF-8 and reads each other octet as windows-1252: that
// is what undeclared 8-bit text is if it is not UTF-8, and no octet is lost.
func appendLenient(dst, text []byte) []byte {
	if utf8.Valid(text) {
		return append(dst, text...)
	}
	for len(text) > 0 {
		r, n := decodeLenient(text)
		dst = utf8.AppendRune(dst, r)
		text = text[n:]
	}
	return dst
}

func decodeLenient(b []byte) (rune, int) {
	r, n := utf8.DecodeRune(b)
	if r == utf8.RuneError && n <= 1 {
		return charmap.Windows1252.DecodeByte(b[0]), 1
	}
	return r, n
}
