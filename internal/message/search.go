package message

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// Scope says which text of a message a search covers.
type Scope uint8

const (
	// ScopeBody is the decoded text of the parts (SEARCH BODY), without any header:
	// RFC 9051 6.4.4.
	ScopeBody Scope = iota
	// ScopeText is that and all headers, those of parts and embedded messages
	// included (SEARCH TEXT).
	ScopeText
)

// Needle is a search string, folded. The zero value is in every text.
type Needle struct{ folded []byte }

// NewNeedle folds s, which is UTF-8.
func NewNeedle(s string) Needle { return Needle{[]byte(Fold(s))} }

// In reports whether decoded text, UTF-8, contains n.
func (n Needle) In(text string) bool {
	return bytes.Contains(appendFold(make([]byte, 0, len(text)), []byte(text)), n.folded)
}

// Contains reports whether a field of that name has n in its decoded value: SEARCH
// HEADER. The zero needle asks for the field alone.
func (h Header) Contains(name string, n Needle) bool {
	for f := range h.Fields() {
		if equalFold(f.Name, name) && n.In(DecodeText(unfold(f.Value))) {
			return true
		}
	}
	return false
}

// Contains reports whether the text of the message root behind r contains n. A match
// lies in one header field or in one part. It reads 32 KiB at a time, and stops at
// the first match or when ctx ends.
func Contains(ctx context.Context, r io.ReaderAt, root *Part, n Needle, scope Scope) (bool, error) {
	if len(n.folded) == 0 {
		return true, nil
	}
	m := matcher{needle: n.folded, room: takeRoom()}
	defer m.room.give()
	var err error
	root.Walk(func(p *Part) bool {
		err = m.part(ctx, r, p, scope)
		return err == nil && !m.found
	})
	return m.found, err
}

// matcher finds a needle in text that comes in pieces.
type matcher struct {
	needle []byte
	tail   []byte // the end of the text so far, shorter than the needle
	found  bool
	room   *room
}

// room is for the text of one part at a time: most messages are small, and are searched
// by the thousand.
type room struct{ text, folded []byte }

var rooms = sync.Pool{New: func() any { return new(room) }}

func takeRoom() *room { return rooms.Get().(*room) }

func (r *room) give() {
	if cap(r.text)+cap(r.folded) <= 4*searchChunk {
		rooms.Put(r)
	}
}

func (m *matcher) part(ctx context.Context, r io.ReaderAt, p *Part, scope Scope) error {
	feed := func(b []byte) bool {
		m.feed(b)
		return !m.found && ctx.Err() == nil
	}
	if scope == ScopeText {
		m.tail = m.tail[:0]
		if err := headerText(r, p, m.room, feed); err != nil || m.found {
			return err
		}
	}
	m.tail = m.tail[:0]
	if err := searchText(r, p, m.room, feed); err != nil || m.found {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("search message: %w", err)
	}
	return nil
}

func (m *matcher) feed(b []byte) {
	keep := len(m.needle) - 1
	n := len(m.tail)
	m.tail = append(m.tail, b[:min(len(b), keep)]...)
	if bytes.Contains(m.tail, m.needle) || bytes.Contains(b, m.needle) {
		m.found = true
		return
	}
	if len(b) >= keep {
		m.tail = append(m.tail[:0], b[len(b)-keep:]...)
	} else if over := n + len(b) - keep; over > 0 {
		m.tail = append(m.tail[:0], m.tail[over:]...)
	}
}

// headerText yields p's header, decoded and folded, one line a field.
func headerText(r io.ReaderAt, p *Part, room *room, yield func([]byte) bool) error {
	if p.Header.Len() == 0 {
		return nil
	}
	h, err := ReadHeader(r, p.Header)
	if err != nil {
		return fmt.Errorf("search message: %w", err)
	}
	line, out := room.text, room.folded
	defer func() { room.text, room.folded = line, out }()
	for f := range h.Fields() {
		line = append(line[:0], f.Name...)
		if f.Name != "" {
			line = append(line, ": "...)
		}
		line = appendText(line, unfold(f.Value))
		line = append(line, "\r\n"...)
		if out = appendFold(out[:0], line); !yield(out) {
			return nil
		}
	}
	return nil
}

// searchChunk is how much decoded text is folded at once.
const searchChunk = 32 << 10

// searchText yields the text of p's own body as SEARCH compares it: transfer
// encoding and charset undone, folded. A chunk ends anywhere between two
// characters; it is valid until yield returns, which stops by returning false.
// Parts that are no text (images, archives), and those with children, yield
// nothing. HTML is yielded with its tags, as other servers search it.
func searchText(r io.ReaderAt, p *Part, room *room, yield func([]byte) bool) error {
	if !searchable(p) {
		return nil
	}
	text := decodedText(r, p)
	n := int(min(searchChunk, 2*p.Body.Len()+16))
	buf := slices.Grow(room.text[:0], n)[:n]
	out := slices.Grow(room.folded[:0], n)
	defer func() { room.text, room.folded = buf, out }()
	held := 0
	for {
		n, err := text.Read(buf[held:])
		n += held
		whole := n
		if err == nil {
			whole = foldedPrefix(buf[:n])
		}
		if out = appendFold(out[:0], buf[:whole]); len(out) > 0 && !yield(out) {
			return nil
		}
		held = copy(buf, buf[whole:n])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("search body at %d: %w", p.Body.Start, err)
		}
	}
}

// decodedText reads p's own body with transfer encoding and charset undone.
func decodedText(r io.ReaderAt, p *Part) io.Reader {
	var body io.Reader = io.NewSectionReader(r, p.Body.Start, p.Body.Len())
	if plain, ok := DecodeTransfer(body, p.Encoding); ok {
		body = plain
	}
	return decodeCharset(body, p.Param("charset"))
}

// searchable reports whether p's own body is text.
func searchable(p *Part) bool {
	switch p.Type {
	case "text":
		return true
	case "message":
		return !p.IsMessage()
	case "application":
		switch p.Subtype {
		case "xml", "json", "javascript", "rtf", "x-sh", "sql", "yaml":
			return true
		}
	}
	return strings.HasSuffix(p.Subtype, "+xml") || strings.HasSuffix(p.Subtype, "+json")
}
