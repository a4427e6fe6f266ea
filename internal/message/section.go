package message

import (
	"fmt"
	"io"
	"strings"
)

// SectionKind is the text part of a section specifier (RFC 3501 6.4.5).
type SectionKind uint8

// The kinds. Of a part number alone, SectionAll is the part's body, without its
// header; of an empty path it is the whole message.
const (
	SectionAll SectionKind = iota
	SectionHeader
	SectionHeaderFields
	SectionHeaderFieldsNot
	SectionText
	SectionMIME
)

// Section is what stands between the brackets of BODY[...].
type Section struct {
	Path   []int // part numbers from 1
	Kind   SectionKind
	Fields []string // of SectionHeaderFields and SectionHeaderFieldsNot, any case
}

// Find is the part of the message p that a path names, nil if there is none. A message that is no
// multipart has one part, 1, which is its text; through a message/rfc822 a path
// goes on into the message.
func (p *Part) Find(path []int) *Part {
	for i, n := range path {
		if i > 0 && p.IsMessage() {
			p = p.Children[0]
		} else if i > 0 && !p.IsMultipart() {
			return nil
		}
		switch {
		case p.IsMultipart():
			if n < 1 || n > len(p.Children) {
				return nil
			}
			p = p.Children[n-1]
		case n != 1:
			return nil
		}
	}
	return p
}

// Locate is where the octets of a section are, false if the section does not
// exist: FETCH answers NIL then. For selected header fields it is the header to
// select from; [Part.Open] does that.
func (p *Part) Locate(s Section) (Span, bool) {
	if p = p.Find(s.Path); p == nil {
		return Span{}, false
	}
	switch s.Kind {
	case SectionAll:
		if len(s.Path) == 0 {
			return Span{p.Header.Start, p.Body.End}, true
		}
		return p.Body, true
	case SectionMIME:
		return p.Header, len(s.Path) > 0
	}
	if len(s.Path) > 0 {
		if !p.IsMessage() {
			return Span{}, false
		}
		p = p.Children[0]
	}
	if s.Kind == SectionText {
		return p.Body, true
	}
	return p.Header, true
}

// Open gives the octets of a section of the message p behind r. They are read from
// r as they are asked for, except for selected header fields, which are made here:
// the fields in their order, then the empty line if the header has one. false: no such section.
func (p *Part) Open(r io.ReaderAt, s Section) (*io.SectionReader, bool, error) {
	at, ok := p.Locate(s)
	if !ok {
		return nil, false, nil
	}
	if s.Kind != SectionHeaderFields && s.Kind != SectionHeaderFieldsNot {
		return io.NewSectionReader(r, at.Start, at.Len()), true, nil
	}
	h, err := ReadHeader(r, at)
	if err != nil {
		return nil, false, fmt.Errorf("select header fields: %w", err)
	}
	text := h.Select(s.Fields, s.Kind == SectionHeaderFieldsNot)
	return io.NewSectionReader(strings.NewReader(text), 0, int64(len(text))), true, nil
}

// Select is the header with only the named fields, or without them, octets
// unchanged, and with its empty line.
func (h Header) Select(names []string, not bool) string {
	var b strings.Builder
	end := 0
	for f := range h.Fields() {
		end = f.Offset + len(f.Raw)
		if named(f.Name, names) != not {
			b.WriteString(f.Raw)
		}
	}
	b.WriteString(string(h[end:]))
	return b.String()
}

func named(name string, names []string) bool {
	for _, n := range names {
		if equalFold(name, n) {
			return true
		}
	}
	return false
}
