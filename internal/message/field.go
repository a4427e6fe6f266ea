package message

import (
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// Header is the octets of one header block, its empty line included or not.
type Header string

// Field is one field of a header. A line that is no field, such as an mbox
// "From " line, is one with an empty Name.
type Field struct {
	Name   string // as written
	Value  string // behind the colon, folded as written, without the last line end
	Raw    string // all octets, name, colon and line ends included
	Offset int    // of Raw in the header
}

// ReadHeader reads the header at s, at most the 1 MiB of it that is interpreted.
func ReadHeader(r io.ReaderAt, s Span) (Header, error) {
	room := takeRoom()
	defer room.give()
	n := int(min(s.Len(), maxHeader))
	room.text = slices.Grow(room.text[:0], n)[:n]
	b := room.text
	if n, err := r.ReadAt(b, s.Start); n < len(b) {
		return "", fmt.Errorf("read header at %d: %w", s.Start, err)
	}
	return Header(b), nil
}

// Fields yields the fields in order, up to the empty line.
func (h Header) Fields() iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for pos := 0; ; {
			f, next := nextField(string(h), pos)
			if next == pos || !yield(f) {
				return
			}
			pos = next
		}
	}
}

// Get is the unfolded value of the first field of that name.
func (h Header) Get(name string) (string, bool) {
	for f := range h.Fields() {
		if equalFold(f.Name, name) {
			return unfold(f.Value), true
		}
	}
	return "", false
}

// nextField reads the field at pos; next is pos at the end of the header.
func nextField(h string, pos int) (f Field, next int) {
	if pos >= len(h) || h[pos] == '\n' || h[pos] == '\r' && pos+1 < len(h) && h[pos+1] == '\n' {
		return Field{}, pos
	}
	end := fieldEnd(h, pos)
	f.Offset, f.Raw = pos, h[pos:end]
	f.Value = trimLineEnd(f.Raw)
	if isBlank(h[pos]) {
		return f, end // a continuation of nothing
	}
	if i := strings.IndexByte(f.Raw, ':'); i >= 0 {
		if name := strings.TrimRight(f.Raw[:i], " \t"); strings.IndexByte(name, '\n') < 0 {
			f.Name, f.Value = name, f.Value[i+1:]
		}
	}
	return f, end
}

// fieldEnd is the end of the line at pos and of those that continue it.
func fieldEnd(h string, pos int) int {
	for {
		i := strings.IndexByte(h[pos:], '\n')
		if i < 0 {
			return len(h)
		}
		pos += i + 1
		if pos >= len(h) || !isBlank(h[pos]) {
			return pos
		}
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func trimLineEnd(s string) string {
	if strings.HasSuffix(s, "\n") {
		s = s[:len(s)-1]
		s = strings.TrimSuffix(s, "\r")
	}
	return s
}

// unfold removes the line ends of folding (RFC 5322 2.2.3), and the white space
// around the value.
func unfold(v string) string {
	v = strings.Trim(v, " \t\r\n")
	if strings.IndexByte(v, '\n') < 0 {
		return v
	}
	var b strings.Builder
	b.Grow(len(v))
	for {
		i := strings.IndexByte(v, '\n')
		if i < 0 {
			b.WriteString(v)
			return b.String()
		}
		b.WriteString(strings.TrimSuffix(v[:i], "\r"))
		v = v[i+1:]
	}
}

// equalFold compares in ASCII without case.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lowerByte(a[i]) != lowerByte(b[i]) {
			return false
		}
	}
	return true
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// lower is s in lower case, ASCII only; it allocates only when that differs.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				b[j] = lowerByte(b[j])
			}
			return string(b)
		}
	}
	return s
}

// kind names the fields that the parser knows.
type kind uint8

const (
	kindOther kind = iota
	kindTo
	kindCc
	kindBcc
	kindFrom
	kindDate
	kindSender
	kindSubject
	kindReplyTo
	kindMessageID
	kindReferences
	kindInReplyTo
	kindContentType
	kindContentEncoding
	kindContentID
	kindContentDescription
	kindContentDisposition
	kindContentLanguage
	kindContentLocation
	kindContentMD5
)

// kindOf looks at the length first: few names share one.
func kindOf(name string) kind {
	switch len(name) {
	case 2:
		return either(name, "to", kindTo, "cc", kindCc)
	case 3:
		return either(name, "bcc", kindBcc, "", 0)
	case 4:
		return either(name, "from", kindFrom, "date", kindDate)
	case 6:
		return either(name, "sender", kindSender, "", 0)
	case 7:
		return either(name, "subject", kindSubject, "", 0)
	case 8:
		return either(name, "reply-to", kindReplyTo, "", 0)
	case 10:
		if equalFold(name, "content-id") {
			return kindContentID
		}
		return either(name, "message-id", kindMessageID, "references", kindReferences)
	case 11:
		return either(name, "in-reply-to", kindInReplyTo, "content-md5", kindContentMD5)
	case 12:
		return either(name, "content-type", kindContentType, "", 0)
	case 16:
		return either(name, "content-language", kindContentLanguage, "content-location", kindContentLocation)
	case 19:
		return either(name, "content-description", kindContentDescription, "content-disposition", kindContentDisposition)
	case 25:
		return either(name, "content-transfer-encoding", kindContentEncoding, "", 0)
	}
	return kindOther
}

func either(name, a string, ka kind, b string, kb kind) kind {
	if equalFold(name, a) {
		return ka
	}
	if equalFold(name, b) {
		return kb
	}
	return kindOther
}
