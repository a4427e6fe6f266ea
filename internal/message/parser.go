package message

import (
	"bytes"
	"io"
	"strings"
)

// Parse reads the message of size octets behind r, once and in order, through a
// window of 64 KiB. It never fails on what it reads; its errors are those of r.
func Parse(r io.ReaderAt, size int64) (*Derived, error) {
	room := takeRoom()
	p := parser{w: window{r: r, size: size, buf: room.text[:0]}}
	d := p.message()
	room.text = p.w.buf
	room.give()
	if p.w.err != nil {
		return nil, p.w.err
	}
	return d, nil
}

// ParseBytes is [Parse] for a message in memory. The result does not refer to b.
func ParseBytes(b []byte) *Derived {
	p := parser{w: window{size: int64(len(b)), buf: b}}
	return p.message()
}

// parser descends into a message while it moves forward through its octets.
type parser struct {
	w     window
	open  []string // boundaries of the multiparts around the current position
	parts int
	full  bool  // the last part allowed is open: delimiters count no more
	feeds int64 // LFs before the current position

	kept      *Kept // of the first header, until that is read
	headers   int   // octets of headers interpreted
	addresses int   // kept in envelopes
	slab      []Part
}

// stop is why a part ended: a delimiter of an enclosing multipart, or the end.
type stop struct {
	level   int   // index in open, -1 at the end of the message
	closing bool  // the delimiter was "--boundary--"
	start   int64 // of the delimiter
	end     int64 // where the part ends: before the line end that the delimiter owns
	next    int64 // behind the delimiter's line
	feeds   int64 // LFs before start
}

func (p *parser) message() *Derived {
	d := new(Derived)
	p.parts, p.kept = 1, &d.Kept
	_, d.Sent = p.entity(&d.Root, &d.Envelope, 0, 0, false)
	return d
}

// entity reads the message or the body of a multipart that begins at pos. A
// message has an envelope.
func (p *parser) entity(part *Part, env *Envelope, pos int64, depth int, digest bool) (stop, Date) {
	h, st, ended := p.header(part, pos)
	sent := p.interpret(part, env, h, digest)
	p.container(part, depth)
	if ended {
		p.hollow(part)
	} else {
		st = p.body(part, depth)
	}
	part.finish(st)
	return st, sent
}

// header finds the header that begins at pos. ended: a delimiter or the end of
// the message came before the empty line, and the part has no body.
func (p *parser) header(part *Part, pos int64) (h Header, st stop, ended bool) {
	part.Header.Start = pos
	st, ended = p.headerEnd(part)
	part.Lines = p.feeds
	kept := part.Header
	kept.End = min(kept.End, kept.Start+int64(min(maxHeader, maxHeaders-p.headers)))
	if kept.Len() > 0 {
		h = Header(p.w.text(kept))
		p.headers += len(h)
	}
	if p.kept != nil && int64(len(h)) == part.Header.Len() {
		*p.kept = keep(h)
	}
	p.kept = nil
	return h, st, ended
}

func (p *parser) headerEnd(part *Part) (stop, bool) {
	pos := part.Header.Start
	for pos < p.w.size {
		b := p.w.at(pos, maxDelimiter)
		if n := emptyLine(b); n > 0 {
			p.feeds++
			part.Header.End = pos + int64(n)
			part.Body = Span{part.Header.End, part.Header.End}
			return stop{}, false
		}
		if st, ok := p.delimiter(b, pos, part.Header.Start); ok {
			part.Header.End = max(st.end, part.Header.Start)
			part.Body = Span{part.Header.End, part.Header.End}
			return st, true
		}
		next, feeds := p.w.line(pos)
		p.feeds += feeds
		pos = next
	}
	part.Header.End = p.w.size
	part.Body = Span{p.w.size, p.w.size}
	return p.atEnd(), true
}

// emptyLine is the length of the line end that b begins with, 0 if none.
func emptyLine(b []byte) int {
	if len(b) > 0 && b[0] == '\n' {
		return 1
	}
	if len(b) > 1 && b[0] == '\r' && b[1] == '\n' {
		return 2
	}
	return 0
}

// container makes a leaf of a part that cannot have children.
func (p *parser) container(part *Part, depth int) {
	switch {
	case part.IsMultipart() && !usable(part.boundary()):
		// The boundary is required: without it the field is invalid and the
		// default holds (RFC 2045 5.2), so that a reader sees the text.
		part.plain()
	case !part.IsMultipart() && !part.IsMessage():
	case depth >= maxDepth || p.parts >= maxParts:
		part.Type, part.Subtype, part.Params = "application", "octet-stream", nil
	}
}

func (p *Part) boundary() string { return strings.TrimRight(p.Param("boundary"), " \t\r") }

// body reads what follows a part's header, and says what ended it.
func (p *parser) body(part *Part, depth int) stop {
	switch {
	case part.IsMultipart():
		return p.multipart(part, depth)
	case part.IsMessage():
		return p.embedded(part, depth)
	}
	return p.scan(part.Body.Start)
}

// hollow completes a part that ended within its header.
func (p *parser) hollow(part *Part) {
	if part.IsMessage() {
		part.Envelope = new(Envelope)
	}
	if part.IsMessage() || part.IsMultipart() {
		p.bare(part, part.Body.Start)
	}
}

func usable(boundary string) bool { return boundary != "" && len(boundary) <= maxBoundary }

func (p *parser) multipart(part *Part, depth int) stop {
	level := len(p.open)
	p.open = append(p.open, part.boundary())
	st := p.scan(part.Body.Start)
	for st.level == level && !st.closing {
		st, _ = p.entity(p.child(part), nil, st.next, depth+1, part.Subtype == "digest")
	}
	p.open = p.open[:level]
	if st.level == level {
		st = p.epilogue(st.next)
	}
	if len(part.Children) == 0 {
		// IMAP knows no multipart without a body.
		p.bare(part, st.end)
	}
	return st
}

// epilogue reads what stands behind a closing delimiter, from the line at pos on. If that
// is another delimiter, it owns the line end before it, which so is not a multipart's last octets.
func (p *parser) epilogue(pos int64) stop {
	st := p.scan(pos)
	if st.level >= 0 && st.start == pos {
		st.end = pos - p.lineEndBefore(pos)
	}
	return st
}

// embedded reads the message that is a message/rfc822's body.
func (p *parser) embedded(part *Part, depth int) stop {
	part.Envelope = new(Envelope)
	if part.encoded() {
		child := p.bare(part, part.Body.Start)
		child.Encoding = part.Encoding
		child.Lines = p.feeds
		st := p.scan(part.Body.Start)
		child.finish(st)
		return st
	}
	st, _ := p.entity(p.child(part), part.Envelope, part.Body.Start, depth+1, false)
	return st
}

// bare adds a child that has no header of its own and begins at pos.
func (p *parser) bare(parent *Part, pos int64) *Part {
	child := p.child(parent)
	child.Header, child.Body = Span{pos, pos}, Span{pos, pos}
	child.plain()
	child.Encoding = "7bit"
	return child
}

// child adds a part below parent. Parts come from slabs: most messages have few.
func (p *parser) child(parent *Part) *Part {
	if len(p.slab) == 0 {
		p.slab = make([]Part, min(2*p.parts, 64))
	}
	c := &p.slab[0]
	p.slab = p.slab[1:]
	p.parts++
	p.full = p.parts >= maxParts
	parent.Children = append(parent.Children, c)
	return c
}

// finish sets the end of a part and its lines, which so far holds the LFs before
// the body.
func (p *Part) finish(st stop) {
	p.Body.End = st.end
	feeds := st.feeds
	if st.end < st.start {
		feeds--
	}
	p.Lines = max(feeds-p.Lines, 0)
}

// scan moves from pos, the start of a line, to the next delimiter of an open
// multipart, or to the end.
func (p *parser) scan(pos int64) stop {
	if len(p.open) == 0 || p.full {
		return p.rest(pos)
	}
	from := pos
	if st, ok := p.delimiter(p.w.at(pos, maxDelimiter), pos, from); ok {
		return st
	}
	for pos < p.w.size {
		b := p.w.at(pos, len(newDelimiter))
		i := bytes.Index(b, newDelimiter)
		if i < 0 {
			pos += p.skip(b, pos)
			continue
		}
		i++
		p.feeds += int64(bytes.Count(b[:i], lineFeed))
		pos += int64(i)
		if st, ok := p.delimiter(p.w.at(pos, maxDelimiter), pos, from); ok {
			return st
		}
	}
	return p.atEnd()
}

var (
	lineFeed     = []byte("\n")
	newDelimiter = []byte("\n--")
)

// skip counts the LFs of octets without a delimiter, and leaves the last ones,
// which may begin one, unless they are the message's last.
func (p *parser) skip(b []byte, pos int64) int64 {
	n := len(b)
	if pos+int64(n) < p.w.size {
		n -= len(newDelimiter) - 1
	}
	p.feeds += int64(bytes.Count(b[:n], lineFeed))
	return int64(n)
}

func (p *parser) rest(pos int64) stop {
	for pos < p.w.size {
		b := p.w.at(pos, 1)
		p.feeds += int64(bytes.Count(b, lineFeed))
		pos += int64(len(b))
	}
	return p.atEnd()
}

func (p *parser) atEnd() stop {
	n := p.w.size
	return stop{level: -1, start: n, end: n, next: n, feeds: p.feeds}
}

// delimiter tells whether the line b at pos is a delimiter of an open multipart,
// the innermost first: a part that lacks its own end ends with that of its
// parent. The whole line must match: RFC 2046 would have any line with the
// boundary as a prefix, but real boundaries are prefixes of others.
func (p *parser) delimiter(b []byte, pos, from int64) (stop, bool) {
	if p.full || len(b) < 3 || b[0] != '-' || b[1] != '-' || len(p.open) == 0 {
		return stop{}, false
	}
	line, ok := delimiterLine(b[:min(len(b), maxDelimiter)], pos+int64(len(b)) >= p.w.size)
	if !ok {
		return stop{}, false
	}
	level, closing := match(p.open, line[2:])
	if level < 0 {
		return stop{}, false
	}
	st := stop{level: level, closing: closing, start: pos, end: pos, feeds: p.feeds}
	if pos > from {
		st.end = pos - p.lineEndBefore(pos)
	}
	next, feeds := p.w.line(pos)
	p.feeds += feeds
	st.next = next
	return st, true
}

// delimiterLine is b's first line without line end and white space behind it.
func delimiterLine(b []byte, last bool) ([]byte, bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		if !last || len(b) == maxDelimiter {
			return nil, false
		}
		i = len(b)
	}
	return bytes.TrimRight(b[:i], " \t\r"), true
}

func match(open []string, line []byte) (level int, closing bool) {
	for i := len(open) - 1; i >= 0; i-- {
		n := len(open[i])
		if len(line) < n || string(line[:n]) != open[i] {
			continue
		}
		switch tail := line[n:]; {
		case len(tail) == 0:
			return i, false
		case tail[0] == '-' && closes(tail):
			return i, true
		}
	}
	return -1, false
}

// closes reports whether what follows a boundary ends its multipart: "--", and
// nothing that could make it another boundary (RFC 2046 5.1.1).
func closes(tail []byte) bool {
	return len(tail) == 2 && tail[1] == '-' ||
		len(tail) > 2 && tail[1] == '-' && !isBoundaryOctet(tail[2])
}

func isBoundaryOctet(c byte) bool {
	return isDigit(c) || isLetter(c) || strings.IndexByte("'()+_,-./:=? ", c) >= 0
}

// lineEndBefore is the length of the line end before the line at pos > 0. The
// octet before may have left the window.
func (p *parser) lineEndBefore(pos int64) int64 {
	if pos < 2 {
		return pos
	}
	if b, ok := p.w.before(pos, 2); ok && b[0] != '\r' {
		return 1
	}
	return 2
}
