package message

import (
	"fmt"
	"io"
	"strings"
)

// SummaryVersion names the rules of [Summarize] and of the encoding of [Summary],
// which shares the dictionary of [Version].
const SummaryVersion = Version<<8 | 2

// Summary is what SORT and THREAD compare of a message (RFC 5256, 5957), made from
// its header alone. All strings are folded: they compare as octets.
type Summary struct {
	Sent                   Date
	Subject                string // base subject
	Reply                  bool   // the subject says so (RFC 5256 2.1)
	From, To, Cc           string // mailbox of the first address
	DisplayFrom, DisplayTo string
	ID                     [16]byte   // IDHash of the Message-ID, zero if there is none
	References             [][16]byte // oldest first: those of References or, without any, one of In-Reply-To
}

// Summarize reads the first MiB of a header.
func Summarize(h Header) Summary {
	var s Summary
	var own, subject, references, inReplyTo string
	var from, to, cc []Address
	for f := range h[:min(len(h), maxHeader)].Fields() {
		switch kindOf(f.Name) {
		case kindMessageID:
			set(&own, f.Value)
		case kindSubject:
			set(&subject, f.Value)
		case kindReferences:
			set(&references, f.Value)
		case kindInReplyTo:
			set(&inReplyTo, f.Value)
		case kindFrom:
			from = firstAddress(from, f.Value)
		case kindTo:
			to = firstAddress(to, f.Value)
		case kindCc:
			cc = firstAddress(cc, f.Value)
		case kindDate:
			if !s.Sent.Valid {
				s.Sent, _ = ParseDate(f.Value)
			}
		}
	}
	base, reply := BaseSubject(unfold(subject))
	s.Subject, s.Reply = Fold(base), reply
	s.From, s.DisplayFrom = sortNames(from)
	s.To, s.DisplayTo = sortNames(to)
	s.Cc, _ = sortNames(cc)
	if id := MessageID(own); id != "" {
		s.ID = IDHash(id)
	}
	ids := MessageIDs(references, maxReferences)
	if len(ids) == 0 {
		ids = MessageIDs(inReplyTo, 1)
	}
	for _, id := range ids {
		s.References = append(s.References, IDHash(id))
	}
	return s
}

func firstAddress(list []Address, value string) []Address {
	if len(list) > 0 {
		return list
	}
	return Addresses(nil, value, 1)
}

// sortNames is the mailbox of the first address, and how it is shown: the display
// name or, without one, the address; of a group its name (RFC 5957 3).
func sortNames(list []Address) (mailbox, display string) {
	if len(list) == 0 {
		return "", ""
	}
	a := &list[0]
	mailbox = Fold(a.Mailbox.Value)
	if display = Fold(strings.TrimSpace(DecodeText(a.Name.Value))); display != "" {
		return mailbox, display
	}
	if a.Host.Valid {
		return mailbox, mailbox + "@" + Fold(a.Host.Value)
	}
	return mailbox, mailbox
}

// topWindow is how much of a message is read first to find its header.
const topWindow = 8 << 10

// ReadTop reads the header that the octets of r begin with, at most 1 MiB of it, or
// somewhat more than that. Nothing has to be known of the message.
func ReadTop(r io.ReaderAt, size int64) (Header, error) {
	for window := int64(topWindow); ; window *= 4 {
		n := min(window, size, maxHeader)
		h, err := ReadHeader(r, Span{0, n})
		if err != nil || n == size || n == maxHeader || hasEnd(string(h)) {
			return h, err
		}
	}
}

// hasEnd reports whether h has an empty line.
func hasEnd(h string) bool {
	return strings.Contains(h, "\n\n") || strings.Contains(h, "\n\r\n") ||
		strings.HasPrefix(h, "\n") || strings.HasPrefix(h, "\r\n")
}

// The bits that begin an encoded Summary. Sent, if valid, follows, then the strings, the
// id, if there is one, and the references with their number.
const (
	summarySent = 1 << iota
	summaryReply
	summaryID

	summaryBits = 1<<iota - 1
)

func (s *Summary) texts() [6]*string {
	return [...]*string{&s.Subject, &s.From, &s.To, &s.Cc, &s.DisplayFrom, &s.DisplayTo}
}

// Append appends the encoding of s, in the manner of [Derived.Append].
func (s *Summary) Append(dst []byte) []byte {
	var bits uint64
	if s.Sent.Valid {
		bits |= summarySent
	}
	if s.Reply {
		bits |= summaryReply
	}
	if s.ID != ([16]byte{}) {
		bits |= summaryID
	}
	e := encoder{b: dst}
	e.uint(bits)
	if s.Sent.Valid {
		e.int(s.Sent.Unix)
		e.int(int64(s.Sent.Zone))
	}
	for _, t := range s.texts() {
		e.string(*t)
	}
	if bits&summaryID != 0 {
		e.b = append(e.b, s.ID[:]...)
	}
	e.uint(uint64(len(s.References)))
	for i := range s.References {
		e.b = append(e.b, s.References[i][:]...)
	}
	return e.b
}

// Decode reads what Append has written, from the beginning of data, whose octets its
// strings share, and returns the rest.
func (s *Summary) Decode(data string) (rest string, err error) {
	c := decoder{s: data}
	bits := c.uint()
	*s = Summary{Reply: bits&summaryReply != 0}
	if bits&summarySent != 0 {
		s.Sent = Date{Unix: c.int(), Zone: int16(c.int()), Valid: true}
	}
	for _, t := range s.texts() {
		*t = c.string()
	}
	if bits&summaryID != 0 {
		copy(s.ID[:], c.octets(16))
	}
	if n := c.count(16); n > 0 {
		s.References = make([][16]byte, n)
		for i := range s.References {
			copy(s.References[i][:], c.octets(16))
		}
	}
	if c.bad || bits > summaryBits {
		return "", fmt.Errorf("decode summary of %d octets: %w", len(data), errDerived)
	}
	return c.s, nil
}
