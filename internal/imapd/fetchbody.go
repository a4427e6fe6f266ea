package imapd

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

const (
	// maxInline is the largest literal of a FETCH that is part of a unit; larger ones
	// are streamed.
	maxInline = 16 << 10
	// maxHeld is how many octets of one message's sections are held at once: the
	// small ones, and selected header fields, which are made in memory.
	maxHeld = 8 << 20
)

// literal is a section that is ready to be sent.
type literal struct {
	name   []byte // with what follows it: "BODY[]<5>"
	value  []byte // stands in the place of a literal
	r      io.Reader
	size   int64
	binary bool
	exists bool // else NIL
	tail   string
}

// open makes all sections of a message ready, so that what cannot be read is
// known before anything of it is sent.
func (r *fetchRun) open(ctx context.Context, c *content) ([]literal, error) {
	list := r.list[:0]
	r.used = 0
	held := int64(0)
	for _, item := range r.sections {
		l, err := r.openOne(ctx, item, c)
		if err != nil {
			return nil, err
		}
		if l.size <= r.inline || len(item.Section.Fields) > 0 {
			held += l.size
		}
		if held > maxHeld {
			return nil, fmt.Errorf("fetch %d sections of message %d: %w", len(r.sections), c.uid, mail.ErrLimit)
		}
		if l.exists && l.size <= r.inline {
			if err := l.hold(r.room(int(l.size))); err != nil {
				return nil, fmt.Errorf("read %s of message %d: %w", l.name, c.uid, err)
			}
		}
		list = append(list, l)
	}
	r.list = list
	return list, nil
}

// room gives n octets that are good until the next message is opened.
func (r *fetchRun) room(n int) []byte {
	if r.used+n > len(r.spare) {
		r.spare, r.used = make([]byte, max(n, 4*maxInline)), 0
	}
	r.used += n
	return r.spare[r.used-n : r.used]
}

func (r *fetchRun) openOne(ctx context.Context, item imapwire.FetchItem, c *content) (literal, error) {
	section := item.Section
	l := literal{}
	switch item.Kind {
	case imapwire.ItemBinary:
		return r.openBinary(ctx, item, c)
	case imapwire.ItemRFC822:
		l.name = []byte("RFC822")
	case imapwire.ItemRFC822Header:
		l.name, section.Kind = []byte("RFC822.HEADER"), imapwire.SectionHeader
	case imapwire.ItemRFC822Text:
		l.name, section.Kind = []byte("RFC822.TEXT"), imapwire.SectionText
	default:
		l.name = imapwire.AppendSection([]byte("BODY"), section)
	}
	octets, exists, err := c.section(ctx, section)
	if err != nil || !exists {
		return l, err
	}
	l.r, l.size, l.exists = octets, octets.Size(), true
	if p := item.Partial; p != nil {
		from, n := window(p, l.size)
		l.r, l.size = io.NewSectionReader(octets, from, n), n
		l.name = appendOrigin(l.name, p)
	}
	return l, nil
}

func (r *fetchRun) openBinary(ctx context.Context, item imapwire.FetchItem, c *content) (literal, error) {
	l := literal{binary: true, name: imapwire.AppendSection([]byte("BINARY"), item.Section)}
	octets, size, exists, err := c.binary(ctx, item.Section.Path)
	if err != nil || !exists {
		return l, err
	}
	l.r, l.size, l.exists = octets, size, true
	if p := item.Partial; p != nil {
		from, n := window(p, size)
		if _, err := io.CopyN(io.Discard, octets, from); err != nil {
			return l, fmt.Errorf("skip to octet %d of message %d: %w", from, c.uid, err)
		}
		l.size = n
		l.name = appendOrigin(l.name, p)
	}
	return l, nil
}

// window is what a partial names of size octets: from where, and how many.
func window(p *imapwire.Partial, size int64) (from, n int64) {
	from = min(p.Offset, size)
	return from, min(p.Count, size-from)
}

func appendOrigin(name []byte, p *imapwire.Partial) []byte {
	name = append(name, '<')
	name = imapwire.AppendNumber(name, p.Offset)
	return append(name, '>')
}

// literals writes the sections of the message whose response began at start.
func (r *fetchRun) literals(ctx context.Context, uid mail.UID, list []literal, start int) error {
	streams := uint32(0)
	for i, l := range list {
		if i > 0 {
			r.out.buf = append(r.out.buf, ' ')
		}
		r.out.buf = append(append(r.out.buf, l.name...), ' ')
		switch {
		case l.value != nil:
			r.out.buf = append(r.out.buf, l.value...)
		case !l.exists:
			r.out.buf = append(r.out.buf, "NIL"...)
		case l.size <= r.inline:
			var err error
			r.out.buf = imapwire.AppendLiteralHead(r.out.buf, l.size, l.binary)
			if r.out.buf, err = appendAll(r.out.buf, l.r); err != nil {
				return err
			}
		default:
			r.out.buf = imapwire.AppendLiteralHead(r.out.buf, l.size, l.binary)
			st := session.Stream{UID: uid, Item: streams, Length: l.size}
			if err := r.stream(ctx, st, l.r, start); err != nil {
				return err
			}
			streams++
		}
		r.out.buf = append(r.out.buf, l.tail...)
	}
	return nil
}

// stream sends a literal of the response that began at start.
func (r *fetchRun) stream(ctx context.Context, st session.Stream, from io.Reader, start int) error {
	if r.inside != nil {
		return r.again(ctx, st, from, start)
	}
	if st.Item == 0 {
		if err := r.out.flushUpTo(ctx, start); err != nil {
			return err
		}
	}
	if err := r.out.flush(ctx); err != nil {
		return err
	}
	return r.send(ctx, st, from)
}

func (r *fetchRun) send(ctx context.Context, st session.Stream, from io.Reader) error {
	st.Command = r.number
	if err := r.out.sink.Stream(ctx, st, from); err != nil {
		return &lostError{err}
	}
	return nil
}

// appendAll appends what r has, from memory.
func appendAll(b []byte, r io.Reader) ([]byte, error) {
	w := bytes.NewBuffer(b)
	_, err := io.Copy(w, r)
	return w.Bytes(), err
}
