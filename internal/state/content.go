package state

import (
	"errors"
	"fmt"
	"io"

	"github.com/tandemail/tandemail/internal/mail"
)

// Section is octets Offset to Offset+Length of R.
type Section struct {
	R      io.ReaderAt
	Offset int64
	Length int64
}

// NewContent joins a prefix and sections to a message's content. Closing it calls
// done, once, if there is one. Safe for concurrent use if the sections are.
func NewContent(prefix []byte, sections []Section, done func() error) mail.Content {
	c := &content{prefix: prefix, sections: sections, done: done, size: int64(len(prefix))}
	for _, s := range sections {
		c.size += s.Length
	}
	return c
}

type content struct {
	prefix   []byte
	sections []Section
	size     int64
	done     func() error
}

func (c *content) Size() int64 { return c.size }

func (c *content) Close() error {
	if c.done == nil {
		return nil
	}
	done := c.done
	c.done = nil
	return done()
}

// ReadAt implements io.ReaderAt over all parts.
func (c *content) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read content at %d: negative offset", off)
	}
	if rest := int64(len(c.prefix)) - off; rest > 0 {
		n = copy(p, c.prefix[off:])
		off += int64(n)
	}
	start := int64(len(c.prefix))
	for _, s := range c.sections {
		if n == len(p) {
			return n, nil
		}
		if off < start+s.Length {
			at := off - start
			want := p[n:min(int64(len(p)), int64(n)+s.Length-at)]
			m, err := s.R.ReadAt(want, s.Offset+at)
			n, off = n+m, off+int64(m)
			if m < len(want) {
				if err == nil || errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF // the section promised more
				}
				return n, fmt.Errorf("read content at %d of %d: %w", off, c.size, err)
			}
		}
		start += s.Length
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Compose gives the content of msg: its prefix and its extents over bodies, which open
// gives and are closed with it.
func Compose(msg *mail.Message, open func(mail.BodyID) (mail.Content, error)) (mail.Content, error) {
	var sections []Section
	var bodies []mail.Content
	done := func() error {
		var errs []error
		for _, b := range bodies {
			errs = append(errs, b.Close())
		}
		return errors.Join(errs...)
	}
	for _, e := range msg.Extents {
		b, err := openExtent(e, open)
		if err != nil {
			return nil, errors.Join(err, done())
		}
		bodies = append(bodies, b)
		sections = append(sections, Section{b, e.Offset, e.Length})
	}
	return NewContent(msg.Prefix, sections, done), nil
}

func openExtent(e mail.Extent, open func(mail.BodyID) (mail.Content, error)) (mail.Content, error) {
	b, err := open(e.Body)
	if err != nil {
		return nil, err
	}
	if short := e.Offset + e.Length - b.Size(); short > 0 {
		err := bodyErr(fmt.Errorf("%d octets short of its extent: %w", short, mail.ErrCorrupt), e.Body)
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Chunked gives the octets of a body that the journal has, chunk by chunk.
func (l *Location) Chunked(chunk func(Placed) io.ReaderAt) mail.Content {
	sections := make([]Section, 0, len(l.Chunks))
	for _, c := range l.Chunks {
		sections = append(sections, Section{R: chunk(c), Length: int64(c.Length)})
	}
	return NewContent(nil, sections, nil)
}
