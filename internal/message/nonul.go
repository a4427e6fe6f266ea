package message

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

// WithoutNUL gives the message of size octets behind r with base64 for the body of
// every part that has NUL and no encoding yet (RFC 3516 4.4, RFC 9051 6.3.12): the
// part decodes to what it was. left is how many NUL octets the result still has:
// those of headers, of what is between parts, and of parts that are said to be
// encoded. r is read a few times, nothing is held; the reader stays valid as long
// as r does.
func WithoutNUL(r io.ReaderAt, size int64) (out io.Reader, left int64, err error) {
	if left, err = countNUL(r, Span{0, size}); left == 0 || err != nil {
		return io.NewSectionReader(r, 0, size), 0, err
	}
	d, err := Parse(r, size)
	if err != nil {
		return nil, 0, err
	}
	e := rewriter{r: r, left: left}
	if err := e.part(&d.Root); err != nil {
		return nil, 0, err
	}
	e.copyTo(size)
	return io.MultiReader(e.pieces...), e.left, nil
}

// rewriter lays out a message of which some parts change their encoding.
type rewriter struct {
	r      io.ReaderAt
	pieces []io.Reader
	done   int64 // octets of the message that pieces stand for
	left   int64 // NULs that stay
}

func (e *rewriter) part(p *Part) error {
	for _, c := range p.Children {
		if err := e.part(c); err != nil {
			return err
		}
	}
	if len(p.Children) > 0 || !p.identity() || p.Header.Len() == 0 || p.Header.Len() > maxHeader || p.Body.Len() == 0 {
		return nil
	}
	n, err := countNUL(e.r, p.Body)
	if err != nil || n == 0 {
		return err
	}
	h, err := ReadHeader(e.r, p.Header)
	if err != nil || h.isComposite() {
		return err // base64 is not for composite parts (RFC 2045 6.4), though this one was no good as such
	}
	e.copyTo(p.Header.Start)
	e.pieces = append(e.pieces, strings.NewReader(h.inBase64()),
		&base64Reader{src: io.NewSectionReader(e.r, p.Body.Start, p.Body.Len())})
	e.done = p.Body.End
	e.left -= n
	return nil
}

func (e *rewriter) copyTo(end int64) {
	if end > e.done {
		e.pieces = append(e.pieces, io.NewSectionReader(e.r, e.done, end-e.done))
		e.done = end
	}
}

// identity reports whether p's body is what it says, not an encoding of it.
func (p *Part) identity() bool {
	switch lower(p.Encoding) {
	case "", "7bit", "8bit", "binary":
		return true
	}
	return false
}

// isComposite reports whether the header speaks of a multipart or a message.
func (h Header) isComposite() bool {
	v, _ := h.Get("Content-Type")
	v = lower(v)
	return strings.HasPrefix(v, "multipart/") || strings.HasPrefix(v, "message/")
}

// inBase64 is h, which has its empty line, with another Content-Transfer-Encoding.
func (h Header) inBase64() string {
	const name, field = "Content-Transfer-Encoding", "Content-Transfer-Encoding: base64\r\n"
	var b strings.Builder
	end, found := 0, false
	for f := range h.Fields() {
		end = f.Offset + len(f.Raw)
		switch {
		case !equalFold(f.Name, name):
			b.WriteString(f.Raw)
		case !found:
			b.WriteString(field)
			found = true
		}
	}
	if !found {
		b.WriteString(field)
	}
	b.WriteString(string(h[end:]))
	return b.String()
}

// countNUL counts the NUL octets of s.
func countNUL(r io.ReaderAt, s Span) (n int64, err error) {
	buf := make([]byte, min(s.Len(), windowSize))
	for at := s.Start; at < s.End; {
		p := buf[:min(int64(len(buf)), s.End-at)]
		k, err := r.ReadAt(p, at)
		if k < len(p) {
			return 0, fmt.Errorf("look for NUL at %d: %w", at, err)
		}
		n += int64(bytes.Count(p, []byte{0}))
		at += int64(k)
	}
	return n, nil
}

// Octets of one line of base64 (RFC 2045 6.8), and how many lines are made at once.
const (
	base64Line  = 57
	base64Lines = 64
)

// base64Reader gives base64 in lines, each with its end.
type base64Reader struct {
	src io.Reader
	out []byte // the part of buf not read yet
	buf []byte
	in  [base64Line * base64Lines]byte
	err error
}

// Read implements io.Reader.
func (b *base64Reader) Read(p []byte) (int, error) {
	for len(b.out) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		var n int
		if n, b.err = io.ReadFull(b.src, b.in[:]); b.err == io.ErrUnexpectedEOF {
			b.err = io.EOF
		}
		b.buf = b.buf[:0]
		for in := b.in[:n]; len(in) > 0; {
			k := min(len(in), base64Line)
			b.buf = append(base64.StdEncoding.AppendEncode(b.buf, in[:k]), "\r\n"...)
			in = in[k:]
		}
		b.out = b.buf
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	return n, nil
}
