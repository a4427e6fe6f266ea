package message

import (
	"mime"
	"slices"
	"strings"
	"unicode/utf8"
)

// Mail may have UTF-8 in its header (RFC 6532). To readers who have not said that they
// take it (RFC 6855) the texts of an envelope and of a structure are as their sender
// would have written them before: encoded words (RFC 2047), and parameters of RFC 2231.
// Addresses, ids and octets that are not UTF-8 have no such form, and stay.

// Downgraded is e without UTF-8 in its texts; e itself if it has none.
func (e *Envelope) Downgraded() *Envelope {
	d := *e
	d.Subject = e.Subject.downgraded()
	changed := d.Subject != e.Subject
	for _, list := range []*[]Address{&d.From, &d.Sender, &d.ReplyTo, &d.To, &d.Cc, &d.Bcc} {
		other, differs := replaced(*list, Address.downgraded)
		*list, changed = other, changed || differs
	}
	if !changed {
		return e
	}
	return &d
}

// downgraded is a with a name in encoded words; of a group, which has no host, the name is
// its mailbox.
func (a Address) downgraded() Address {
	if a.Name = a.Name.downgraded(); !a.Host.Valid {
		a.Mailbox = a.Mailbox.downgraded()
	}
	return a
}

// Downgraded is p without UTF-8 in its texts and parameters, and in those of its parts; p
// itself if it has none.
func (p *Part) Downgraded() *Part {
	d := *p
	params, changed := downgradedParams(p.Params)
	d.Params = params
	if d.Description = p.Description.downgraded(); d.Description != p.Description {
		changed = true
	}
	if p.Disposition != nil {
		if params, other := downgradedParams(p.Disposition.Params); other {
			d.Disposition, changed = &Disposition{p.Disposition.Type, params}, true
		}
	}
	if p.Envelope != nil {
		d.Envelope = p.Envelope.Downgraded()
		changed = changed || d.Envelope != p.Envelope
	}
	children, other := replaced(p.Children, (*Part).Downgraded)
	if d.Children = children; !changed && !other {
		return p
	}
	return &d
}

// replaced is list with f of each element: list itself if nothing differs.
func replaced[T comparable](list []T, f func(T) T) (out []T, differs bool) {
	out = list
	for i, v := range list {
		w := f(v)
		if w == v {
			continue
		}
		if !differs {
			out, differs = slices.Clone(list), true
		}
		out[i] = w
	}
	return out, differs
}

// hasUTF8 reports whether s has other than ASCII, all of it UTF-8.
func hasUTF8(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) && utf8.ValidString(s)
}

func (s NString) downgraded() NString {
	if !hasUTF8(s.Value) {
		return s
	}
	return NString{encodedWords(DecodeText(s.Value)), true}
}

// encodedWords is a text in encoded words of 75 octets at most, one character in one of
// them (RFC 2047 2).
func encodedWords(text string) string {
	high := 0
	for i := range len(text) {
		high += int(text[i] >> 7)
	}
	coding := mime.QEncoding
	if 2*high > len(text) {
		coding = mime.BEncoding
	}
	return strings.ReplaceAll(coding.Encode("utf-8", text), "\r\n ", " ")
}

// downgradedParams has values in the form of RFC 2231 4. One that the message has in that
// form as well stays as it is.
func downgradedParams(list []Param) (out []Param, changed bool) {
	return replaced(list, func(q Param) Param {
		twin := q.Name + "*"
		if !hasUTF8(q.Value) || strings.HasSuffix(q.Name, "*") || slices.ContainsFunc(list, func(o Param) bool { return o.Name == twin }) {
			return q
		}
		return Param{twin, "utf-8''" + percentEncoded(q.Value)}
	})
}

// percentEncoded keeps letters, digits and what RFC 2231 7 calls attribute-char.
func percentEncoded(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$&+-.^_`{|}~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}
