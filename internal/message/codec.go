package message

import (
	"encoding/binary"
	"errors"
)

// ErrVersion means that the data was derived by other rules: parse again.
var ErrVersion = errors.New("derived by another version")

var errDerived = errors.New("malformed derived data")

// The encoding of Derived, all numbers uvarints:
//
//	version
//	length of the envelope, envelope
//	0, or 1 + length of the kept fields, kept fields
//	sent: 0, or 1, zigzag seconds, zigzag zone
//	root part
//
//	string    0 absent; odd: word n>>1 of the dictionary; even: n/2-1 octets follow
//	envelope  flags (1 Sender is From, 2 ReplyTo is From), date, subject, message id, in-reply-to,
//	          then the lists that are not flagged: count, addresses of four strings
//	part      flags (1 rare fields, 2 envelope, 4 children), gap between the end of what came
//	          before and the header, header length, body length, lines, type, subtype, encoding, params,
//	          [id, description, md5, location, languages, disposition], [envelope], [children]
//
// The dictionary belongs to the version.

// Append appends the encoding of d.
func (d *Derived) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, Version)
	env := encoder{}
	env.envelope(&d.Envelope)
	dst = binary.AppendUvarint(dst, uint64(len(env.b)))
	e := encoder{b: append(dst, env.b...)}
	if d.Kept.Valid {
		e.uint(uint64(len(d.Kept.Header) + 1))
		e.b = append(e.b, d.Kept.Header...)
	} else {
		e.uint(0)
	}
	if d.Sent.Valid {
		e.uint(1)
		e.int(d.Sent.Unix)
		e.int(int64(d.Sent.Zone))
	} else {
		e.uint(0)
	}
	e.part(&d.Root, 0)
	return e.b
}

type encoder struct{ b []byte }

func (e *encoder) uint(n uint64) { e.b = binary.AppendUvarint(e.b, n) }
func (e *encoder) int(n int64)   { e.b = binary.AppendVarint(e.b, n) }

func (e *encoder) string(s string) {
	if w := wordIndex(s); w >= 0 {
		e.uint(uint64(w)<<1 | 1)
		return
	}
	e.uint(uint64(len(s)+1) << 1)
	e.b = append(e.b, s...)
}

func (e *encoder) nstring(s NString) {
	if !s.Valid {
		e.uint(0)
		return
	}
	e.string(s.Value)
}

const (
	senderIsFrom = 1 << iota
	replyToIsFrom
)

func (e *encoder) envelope(v *Envelope) {
	var flags uint64
	if sameAddresses(v.Sender, v.From) {
		flags |= senderIsFrom
	}
	if sameAddresses(v.ReplyTo, v.From) {
		flags |= replyToIsFrom
	}
	e.uint(flags)
	e.nstring(v.Date)
	e.nstring(v.Subject)
	e.nstring(v.MessageID)
	e.nstring(v.InReplyTo)
	e.addresses(v.From)
	if flags&senderIsFrom == 0 {
		e.addresses(v.Sender)
	}
	if flags&replyToIsFrom == 0 {
		e.addresses(v.ReplyTo)
	}
	e.addresses(v.To)
	e.addresses(v.Cc)
	e.addresses(v.Bcc)
}

func sameAddresses(a, b []Address) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func (e *encoder) addresses(list []Address) {
	e.uint(uint64(len(list)))
	for _, a := range list {
		e.nstring(a.Name)
		e.nstring(a.Adl)
		e.nstring(a.Mailbox)
		e.nstring(a.Host)
	}
}

const (
	hasRare = 1 << iota
	hasEnvelope
	hasChildren
)

func (p *Part) flags() (f uint64) {
	if p.ID.Valid || p.Description.Valid || p.MD5.Valid || p.Location.Valid ||
		len(p.Language) > 0 || p.Disposition != nil {
		f |= hasRare
	}
	if p.Envelope != nil {
		f |= hasEnvelope
	}
	if len(p.Children) > 0 {
		f |= hasChildren
	}
	return f
}

func (e *encoder) part(p *Part, prev int64) {
	flags := p.flags()
	e.uint(flags)
	e.uint(uint64(p.Header.Start - prev))
	e.uint(uint64(p.Header.Len()))
	e.uint(uint64(p.Body.Len()))
	e.uint(uint64(p.Lines))
	e.string(p.Type)
	e.string(p.Subtype)
	e.string(p.Encoding)
	e.params(p.Params)
	if flags&hasRare != 0 {
		e.rare(p)
	}
	if flags&hasEnvelope != 0 {
		e.envelope(p.Envelope)
	}
	if flags&hasChildren != 0 {
		e.uint(uint64(len(p.Children)))
		at := p.Body.Start
		for _, c := range p.Children {
			e.part(c, at)
			at = c.Body.End
		}
	}
}

func (e *encoder) rare(p *Part) {
	e.nstring(p.ID)
	e.nstring(p.Description)
	e.nstring(p.MD5)
	e.nstring(p.Location)
	e.uint(uint64(len(p.Language)))
	for _, t := range p.Language {
		e.string(t)
	}
	if p.Disposition == nil {
		e.uint(0)
		return
	}
	e.string(p.Disposition.Type)
	e.params(p.Disposition.Params)
}

func (e *encoder) params(list []Param) {
	e.uint(uint64(len(list)))
	for _, q := range list {
		e.string(q.Name)
		e.string(q.Value)
	}
}
