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

// Sections says which runs of octets make up the extents of msg, in order, given
// the reader of each chunk of a body: what [NewContent] wants.
func Sections(r Reader, msg mail.Message, chunk func(Placed) io.ReaderAt) ([]Section, error) {
	var list []Section
	for _, e := range msg.Extents {
		loc, ok, err := ReadLocation(r, e.Body)
		if err == nil && !ok {
			err = bodyErr(mail.ErrNoMessage, e.Body)
		}
		if err != nil {
			return nil, err
		}
		skip, left := e.Offset, e.Length
		for _, c := range loc.Chunks {
			length := int64(c.Length)
			if skip >= length { // an empty chunk too
				skip -= length
				continue
			}
			if n := min(length-skip, left); n > 0 {
				list = append(list, Section{chunk(c), skip, n})
				left -= n
			}
			skip = 0
		}
		if left > 0 {
			return nil, bodyErr(fmt.Errorf("%d octets short of its extent: %w", left, mail.ErrCorrupt), e.Body)
		}
	}
	return list, nil
}
