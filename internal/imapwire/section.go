package imapwire

import "strings"

// SectionKind is the text part of a section.
type SectionKind uint8

// The kinds. SectionAll is the whole message, or the body of the part.
const (
	SectionAll SectionKind = iota
	SectionHeader
	SectionHeaderFields
	SectionHeaderFieldsNot
	SectionText
	SectionMIME
)

// Section is what stands between the brackets of BODY[] and BINARY[].
type Section struct {
	Path   []int
	Kind   SectionKind
	Fields []string // header field names, as written
}

var sectionNames = [...]string{
	SectionHeader:          "HEADER",
	SectionHeaderFields:    "HEADER.FIELDS",
	SectionHeaderFieldsNot: "HEADER.FIELDS.NOT",
	SectionText:            "TEXT",
	SectionMIME:            "MIME",
}

// section takes a section with its brackets. Only numbers are allowed in BINARY.
func (l *lexer) section(numbers bool) (Section, error) {
	var s Section
	if err := l.expect('['); err != nil {
		return s, err
	}
	for isDigit(l.peek()) {
		n, err := l.nonZero()
		if err != nil {
			return s, err
		}
		if len(s.Path) == maxSection {
			return s, syntax("More than %d levels of parts", maxSection)
		}
		s.Path = append(s.Path, int(min(n, 1<<30)))
		if !l.accept('.') {
			return s, l.expect(']')
		}
	}
	if len(s.Path) == 0 && l.accept(']') {
		return s, nil
	}
	if numbers {
		return s, l.expected("a part number")
	}
	if err := l.sectionText(&s); err != nil {
		return s, err
	}
	return s, l.expect(']')
}

func (l *lexer) sectionText(s *Section) error {
	at := l.pos
	word := strings.ToUpper(l.while(func(c byte) bool { return isAtomChar(c) && c != '[' }))
	for kind, name := range sectionNames {
		if name != "" && name == word {
			s.Kind = SectionKind(kind)
		}
	}
	switch s.Kind {
	case SectionAll:
		return syntax("No such section at octet %d", at+1)
	case SectionMIME:
		if len(s.Path) == 0 {
			return syntax("MIME needs a part number")
		}
	case SectionHeaderFields, SectionHeaderFieldsNot:
		if err := l.space(); err != nil {
			return err
		}
		return l.list(maxFields, false, func() error {
			f, err := l.astring()
			s.Fields = append(s.Fields, f)
			return err
		})
	}
	return nil
}

// AppendSection appends a section with its brackets, as a response repeats it.
func AppendSection(dst []byte, s Section) []byte {
	dst = append(dst, '[')
	for i, n := range s.Path {
		if i > 0 {
			dst = append(dst, '.')
		}
		dst = AppendNumber(dst, n)
	}
	if s.Kind != SectionAll {
		if len(s.Path) > 0 {
			dst = append(dst, '.')
		}
		dst = append(dst, sectionNames[s.Kind]...)
	}
	if s.Kind == SectionHeaderFields || s.Kind == SectionHeaderFieldsNot {
		for i, f := range s.Fields {
			dst = append(dst, ' ')
			if i == 0 {
				dst = append(dst, '(')
			}
			dst = AppendAString(dst, f)
		}
		dst = append(dst, ')')
	}
	return append(dst, ']')
}
