package message

import "strings"

// Address is one element of an ENVELOPE's address list (RFC 3501 7.4.2).
//
// A group is an address with Host NIL and its name as Mailbox; then its members;
// then one with Mailbox and Host NIL. Any other address has both: what a broken
// one lacks is "", never NIL, so that it cannot be taken for a group.
type Address struct {
	Name    NString // display name, or a trailing comment; encoded words kept
	Adl     NString // source route
	Mailbox NString
	Host    NString
}

// Addresses parses the value of an address field, obsolete syntax included, and
// appends at most limit elements to dst.
func Addresses(dst []Address, value string, limit int) []Address {
	p := addressParser{scanner: scanner{v: value}, out: dst, limit: len(dst) + limit}
	p.list()
	return p.out
}

type addressParser struct {
	scanner
	out   []Address
	limit int
	group bool
	angle bool // the element before ended with ">", and no comma came since
}

func (p *addressParser) list() {
	for len(p.out) < p.limit {
		p.skipBlank()
		if p.done() {
			break
		}
		switch p.peek() {
		case ',':
			p.pos++
			p.angle = false
		case ';':
			p.pos++
			p.endGroup()
		default:
			p.element()
		}
	}
	p.endGroup()
}

func (p *addressParser) endGroup() {
	if p.group && len(p.out) <= p.limit {
		p.out = append(p.out, Address{})
	}
	p.group, p.angle = false, false
}

// element reads up to the end of one address, or to the ":" of a group.
func (p *addressParser) element() {
	p.comment = ""
	ph := p.phrase()
	switch p.peek() {
	case '<':
		p.pos++
		a := p.angleAddress()
		if !ph.empty() {
			a.Name = NString{p.name(ph), true}
		}
		p.out = append(p.out, a)
		p.angle = true
	case '@':
		p.pos++
		p.out = append(p.out, p.bareAddress(ph))
		p.angle = false
	case ':':
		p.pos++
		if !p.group && !ph.empty() {
			p.group = true
			p.out = append(p.out, Address{Mailbox: NString{p.name(ph), true}})
		}
	case ',', ';', 0:
		p.lone(ph)
	default:
		p.lone(ph)
		p.pos++ // a special that means nothing here
	}
}

// lone is a phrase without an address: one word is a mailbox without a host,
// several are a name. Behind an "<address>" it is dropped.
func (p *addressParser) lone(ph phrase) {
	if ph.empty() || p.angle {
		return
	}
	a := Address{Mailbox: NString{"", true}, Host: NString{"", true}}
	if ph.words == 1 {
		a.Mailbox.Value = p.name(ph)
		if p.comment != "" {
			a.Name = NString{unescape(p.comment), true}
		}
	} else {
		a.Name = NString{p.name(ph), true}
	}
	p.out = append(p.out, a)
}

func (p *addressParser) bareAddress(local phrase) Address {
	a := Address{
		Mailbox: NString{p.local(local), true},
		Host:    NString{p.domain(), true},
	}
	p.skipBlank()
	if c := strings.Trim(p.comment, " \t\r\n"); c != "" {
		a.Name = NString{unescape(c), true}
	}
	return a
}

// angleAddress reads what follows "<", and the ">".
func (p *addressParser) angleAddress() Address {
	a := Address{Mailbox: NString{"", true}, Host: NString{"", true}}
	p.skipBlank()
	if p.peek() == '@' {
		a.Adl = p.route()
	}
	a.Mailbox.Value = p.local(p.phrase())
	if p.accept('@') {
		a.Host.Value = p.domain()
	}
	p.skipBlank()
	p.accept('>')
	return a
}

// route reads "@one,@two:" (RFC 5322 4.4).
func (p *addressParser) route() NString {
	from := p.pos
	for !p.done() && p.peek() != ':' && p.peek() != '>' {
		p.pos++
	}
	adl := unfold(p.v[from:p.pos])
	p.accept(':')
	return NString{adl, true}
}

// phrase is a run of words in v[from:to], with what is needed to print it.
type phrase struct {
	from, to int
	words    int
	quoted   int // words that are quoted strings
	messy    bool
}

func (ph phrase) empty() bool { return ph.words == 0 }

// phrase reads words up to a character that ends them.
func (p *addressParser) phrase() phrase {
	p.skipBlank()
	ph := phrase{from: p.pos, to: p.pos}
	for {
		gap := p.pos
		p.skipBlank()
		if p.done() {
			return ph
		}
		if p.pos-gap > 1 || p.pos > gap && p.v[gap] != ' ' {
			gap = -1
		}
		start := p.pos
		if _, ok := p.quoted(); ok {
			ph.quoted++
		} else if !p.atom() {
			return ph
		}
		if ph.words > 0 && gap != start-1 {
			ph.messy = true
		}
		ph.words++
		ph.to = p.pos
	}
}

// atom reads a word, dots included, which obsolete phrases have too.
func (p *addressParser) atom() bool {
	from := p.pos
	for !p.done() {
		switch c := p.v[p.pos]; {
		case c == '<', c == '>', c == '@', c == ',', c == ';', c == ':', isSpace(c):
			return p.pos > from
		case c == '(' && !p.openComment, c == '"' && !p.openQuote:
			return p.pos > from
		}
		p.pos++
	}
	return p.pos > from
}

// name prints a phrase: quoted strings without quotes, one space between words.
func (p *addressParser) name(ph phrase) string {
	if ph.quoted == 0 && !ph.messy {
		return p.v[ph.from:ph.to]
	}
	return p.words(ph, " ")
}

// local prints a phrase as a local part: comments and white space mean nothing.
func (p *addressParser) local(ph phrase) string {
	if ph.words == 1 && ph.quoted == 0 {
		return p.v[ph.from:ph.to]
	}
	return p.words(ph, "")
}

func (p *addressParser) words(ph phrase, sep string) string {
	again := addressParser{scanner: scanner{
		v: p.v[:ph.to], pos: ph.from,
		openComment: p.openComment, openQuote: p.openQuote,
	}}
	var b []byte
	for n := 0; ; n++ {
		again.skipBlank()
		if again.done() {
			return string(b)
		}
		w, ok := again.quoted()
		if !ok {
			from := again.pos
			if !again.atom() {
				return string(b)
			}
			w = again.v[from:again.pos]
		}
		if ph.words == 1 {
			return w
		}
		if n > 0 {
			b = append(b, sep...)
		}
		b = append(b, w...)
	}
}

// domain reads a domain or a domain literal, without comments and white space.
func (p *addressParser) domain() string {
	p.skipBlank()
	ph := phrase{from: p.pos, to: p.pos}
	for {
		from := p.pos
		if p.peek() == '[' {
			p.literal()
		} else if !p.domainAtom() {
			break
		}
		if p.pos == from {
			break
		}
		ph.to = p.pos
		ph.words++
		if p.domainGap() {
			break
		}
	}
	if ph.words <= 1 {
		return p.v[ph.from:ph.to]
	}
	return strings.Join(strings.FieldsFunc(stripComments(p.v[ph.from:ph.to]), func(r rune) bool {
		return r < 0x80 && isSpace(byte(r))
	}), "")
}

// domainGap skips blanks inside a domain. Only around a dot do they belong to it
// (RFC 5322 4.4); it reports whether the domain has ended.
func (p *addressParser) domainGap() bool {
	dot := p.v[p.pos-1] == '.'
	p.skipBlank()
	return !dot && p.peek() != '.'
}

func (p *addressParser) literal() {
	if i := strings.IndexAny(p.v[p.pos:], "]>\n"); i >= 0 && p.v[p.pos+i] == ']' {
		p.pos += i + 1
		return
	}
	p.domainAtom()
}

func (p *addressParser) domainAtom() bool {
	from := p.pos
	for !p.done() {
		switch c := p.v[p.pos]; c {
		case '<', '>', ',', ';', ':', '"', '(':
			return p.pos > from
		default:
			if isSpace(c) {
				return p.pos > from
			}
		}
		p.pos++
	}
	return p.pos > from
}

func stripComments(v string) string {
	s := scanner{v: v}
	var b []byte
	for !s.done() {
		if s.peek() == '(' && s.skipComment() {
			continue
		}
		b = append(b, s.v[s.pos])
		s.pos++
	}
	return string(b)
}
