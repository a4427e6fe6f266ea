package message

import (
	"encoding/binary"
	"fmt"
)

// Decode is the inverse of [Derived.Append]. The error is [ErrVersion] for
// another version; any other error means that b is damaged.
func Decode(b []byte) (*Derived, error) {
	p, err := pieces(b)
	if err != nil {
		return nil, err
	}
	d := new(Derived)
	d.Kept, _ = DecodeKept(p[FieldsPiece])
	ec, c := decoder{s: string(p[EnvelopePiece])}, decoder{s: string(p[StructurePiece])}
	ec.envelope(&d.Envelope)
	d.Sent = c.date()
	c.part(&d.Root, 0, 0)
	if c.bad || ec.bad || c.s != "" || ec.s != "" {
		return nil, fmt.Errorf("decode derived data of %d octets: %w", len(b), errDerived)
	}
	return d, nil
}

// decoder consumes s. After a failure bad is set and all values are zero.
type decoder struct {
	s     string
	parts int
	bad   bool
}

func (c *decoder) fail() { c.bad, c.s = true, "" }

func (c *decoder) uint() (n uint64) {
	for i := 0; i < len(c.s) && i < binary.MaxVarintLen64; i++ {
		b := c.s[i]
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			c.s = c.s[i+1:]
			return n
		}
	}
	c.fail()
	return 0
}

func (c *decoder) int() int64 {
	n := c.uint()
	return int64(n>>1) ^ -int64(n&1)
}

// maxOffset is far above any message's size, and far below an overflow.
const maxOffset = 1 << 50

func (c *decoder) length() int64 {
	n := c.uint()
	if n > maxOffset {
		c.fail()
		return 0
	}
	return int64(n)
}

func (c *decoder) octets(n uint64) string {
	if n > uint64(len(c.s)) {
		c.fail()
		return ""
	}
	s := c.s[:n]
	c.s = c.s[n:]
	return s
}

// count reads the length of a list, of which each element takes at least so many octets.
func (c *decoder) count(least int) int {
	n := c.uint()
	if n > uint64(len(c.s)/least) {
		c.fail()
		return 0
	}
	return int(n)
}

func (c *decoder) nstring() NString {
	n := c.uint()
	switch {
	case n == 0:
		return NString{}
	case n&1 == 0:
		return NString{c.octets(n/2 - 1), true}
	case n>>1 < uint64(len(words)):
		return NString{words[n>>1], true}
	}
	c.fail()
	return NString{}
}

func (c *decoder) string() string {
	s := c.nstring()
	if !s.Valid {
		c.fail()
	}
	return s.Value
}

func (c *decoder) date() (d Date) {
	if c.uint() == 1 {
		d = Date{Unix: c.int(), Zone: int16(c.int()), Valid: true}
	}
	return d
}

func (c *decoder) envelope(v *Envelope) {
	flags := c.uint()
	if flags > senderIsFrom|replyToIsFrom {
		c.fail()
	}
	v.Date = c.nstring()
	v.Subject = c.nstring()
	v.MessageID = c.nstring()
	v.InReplyTo = c.nstring()
	v.From = c.addresses()
	v.Sender, v.ReplyTo = v.From, v.From
	if flags&senderIsFrom == 0 {
		v.Sender = c.addresses()
	}
	if flags&replyToIsFrom == 0 {
		v.ReplyTo = c.addresses()
	}
	v.To = c.addresses()
	v.Cc = c.addresses()
	v.Bcc = c.addresses()
}

func (c *decoder) addresses() []Address {
	n := c.count(4)
	if n == 0 {
		return nil
	}
	list := make([]Address, n)
	for i := range list {
		list[i] = Address{Name: c.nstring(), Adl: c.nstring(), Mailbox: c.nstring(), Host: c.nstring()}
	}
	return list
}

func (c *decoder) part(p *Part, prev int64, depth int) {
	if depth > maxDepth {
		c.fail()
		return
	}
	flags := c.uint()
	p.Header.Start = prev + c.length()
	p.Header.End = p.Header.Start + c.length()
	p.Body = Span{p.Header.End, p.Header.End + c.length()}
	p.Lines = c.length()
	p.Type, p.Subtype, p.Encoding = c.string(), c.string(), c.string()
	p.Params = c.params()
	if flags&hasRare != 0 {
		c.rare(p)
	}
	if flags&hasEnvelope != 0 {
		p.Envelope = new(Envelope)
		c.envelope(p.Envelope)
	}
	if flags&hasChildren != 0 {
		c.children(p, depth)
	}
	if flags != p.flags() || !p.whole() {
		c.fail()
	}
}

// minPart is the fewest octets that a part takes.
const minPart = 9

func (c *decoder) children(p *Part, depth int) {
	n := c.count(minPart)
	if c.parts += n; c.parts > maxParts+maxDepth {
		c.fail()
		return
	}
	slab := make([]Part, n)
	p.Children = make([]*Part, n)
	at := p.Body.Start
	for i := range slab {
		p.Children[i] = &slab[i]
		c.part(&slab[i], at, depth+1)
		if at = slab[i].Body.End; at > p.Body.End {
			c.fail()
		}
		if c.bad {
			return
		}
	}
}

// whole reports whether p has the children and the envelope its type demands.
func (p *Part) whole() bool {
	switch {
	case p.IsMultipart():
		return len(p.Children) > 0 && p.Envelope == nil
	case p.IsMessage():
		return len(p.Children) == 1 && p.Envelope != nil
	}
	return len(p.Children) == 0 && p.Envelope == nil
}

func (c *decoder) rare(p *Part) {
	p.ID = c.nstring()
	p.Description = c.nstring()
	p.MD5 = c.nstring()
	p.Location = c.nstring()
	if n := c.count(1); n > 0 {
		p.Language = make([]string, n)
		for i := range p.Language {
			p.Language[i] = c.string()
		}
	}
	if t := c.nstring(); t.Valid {
		p.Disposition = &Disposition{Type: t.Value, Params: c.params()}
	}
}

func (c *decoder) params() []Param {
	n := c.count(2)
	if n == 0 {
		return nil
	}
	list := make([]Param, n)
	for i := range list {
		list[i] = Param{c.string(), c.string()}
	}
	return list
}
