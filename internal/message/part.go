package message

// Version names the rules of this parser and of the encoding of [Derived]. It
// rises with every change of a result, so that cached data is rebuilt.
const Version = rules + laterRules

// rules is the version of this release.
const rules = 3

// Span is the octets [Start, End) of a message's content.
type Span struct {
	Start, End int64
}

// Len is the number of octets.
func (s Span) Len() int64 { return s.End - s.Start }

// Slice is what <start.count> of a FETCH names: at most count octets from start
// on, none where start is behind the end (RFC 3501 6.4.5).
func (s Span) Slice(start, count int64) Span {
	if start < 0 || count < 0 || start >= s.Len() {
		return Span{s.End, s.End}
	}
	s.Start += start
	if count < s.Len() {
		s.End = s.Start + count
	}
	return s
}

// NString is a string or, if not Valid, the NIL of IMAP: a field that is absent,
// which is not the same as one that is empty.
type NString struct {
	Value string
	Valid bool
}

// Param is one parameter of Content-Type or Content-Disposition. The name is in
// lower case. Continuations of RFC 2231 are joined; if any piece was extended the
// name ends with "*" and the value is charset'language'percent-encoded, as IMAP
// servers give it.
type Param struct {
	Name, Value string
}

// Disposition is a Content-Disposition, its type in lower case.
type Disposition struct {
	Type   string
	Params []Param
}

// Part is a node of a message's structure.
//
// The message itself is a part; so is each body of a multipart, and the message
// inside a message/rfc822 or message/global. Type, Subtype, Encoding are in lower case and
// never empty: the defaults of RFC 2045 5.2 and 2046 5.1.5 stand in.
type Part struct {
	Header Span // the empty line included
	Body   Span // begins where Header ends; excludes the line end before a delimiter
	Lines  int64

	Type, Subtype string
	Params        []Param
	ID            NString // Content-ID, as written
	Description   NString // Content-Description, encoded words kept
	Encoding      string
	MD5           NString
	Disposition   *Disposition
	Language      []string
	Location      NString

	// Envelope is that of the message inside; nil unless IsMessage.
	Envelope *Envelope
	// Children are a multipart's bodies, at least one, or the one message inside a
	// message/rfc822. An embedded message that is in base64 or quoted-printable,
	// which RFC 2046 5.2.1 forbids, is not opened: its child is text without a header
	// in the same encoding.
	Children []*Part
}

// IsMultipart reports whether p has bodies of its own.
func (p *Part) IsMultipart() bool { return p.Type == "multipart" }

// IsMessage reports whether p's body is a message with header and body.
func (p *Part) IsMessage() bool {
	return p.Type == "message" && (p.Subtype == "rfc822" || p.Subtype == "global")
}

// Size is the number of octets of p's body, in its transfer encoding.
func (p *Part) Size() int64 { return p.Body.Len() }

// Param is the value of a parameter of the Content-Type, "" if it has none.
func (p *Part) Param(name string) string {
	for _, q := range p.Params {
		if q.Name == name {
			return q.Value
		}
	}
	return ""
}

// Walk calls visit for p and all parts below it, parents first, and stops when
// visit returns false.
func (p *Part) Walk(visit func(*Part) bool) bool {
	if !visit(p) {
		return false
	}
	for _, c := range p.Children {
		if !c.Walk(visit) {
			return false
		}
	}
	return true
}

// encoded reports whether the body must be decoded before it can be read.
func (p *Part) encoded() bool {
	return p.Encoding == "base64" || p.Encoding == "quoted-printable"
}

// Derived is what is worth keeping about a message: everything IMAP asks about
// it that is not its octets.
type Derived struct {
	Envelope Envelope
	Kept     Kept
	Sent     Date
	Root     Part
}
