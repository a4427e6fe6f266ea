package imapwire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Raw is one whole command as the client sent it.
type Raw struct {
	// Text is its lines without the literals' octets: each "{n}" is followed by CR
	// LF and what the client sent after the literal. The last line has no end.
	Text []byte
	// Literals in the order of their announcements.
	Literals []Literal
}

// Literal is the octets of one literal, in memory or spooled.
type Literal struct {
	Announcement
	Data  []byte  // if Spool is nil
	Spool Spooled // else
}

// Spooled is a literal that is not in memory. It may be opened more than once;
// Close gives its space back.
type Spooled interface {
	Open() (LiteralReader, error)
	io.Closer
}

// LiteralReader reads a literal from its beginning, or at any place.
type LiteralReader = interface {
	io.ReadCloser
	io.ReaderAt
}

// inMemory is the reader of a literal that is not spooled.
type inMemory struct{ *bytes.Reader }

// Close implements io.Closer.
func (inMemory) Close() error { return nil }

// Close gives back the space of spooled literals: the command is done.
func (r Raw) Close() error {
	var errs []error
	for _, l := range r.Literals {
		if l.Spool != nil {
			errs = append(errs, l.Spool.Close())
		}
	}
	return errors.Join(errs...)
}

// Open reads the literal from its beginning.
func (l Literal) Open() (LiteralReader, error) {
	if l.Spool == nil {
		return inMemory{bytes.NewReader(l.Data)}, nil
	}
	r, err := l.Spool.Open()
	if err != nil {
		return nil, fmt.Errorf("open spooled literal of %d octets: %w", l.Size, err)
	}
	return r, nil
}

// Size is the number of octets of the command, all literals included.
func (r Raw) Size() int64 {
	n := int64(len(r.Text)) + 2
	for _, l := range r.Literals {
		n += l.Size
	}
	return n
}

// WriteTo writes the command as it goes over a wire, with its last line end.
// Announcements stay as they were: who reads this sends no continuation.
func (r Raw) WriteTo(w io.Writer) (int64, error) {
	var total int64
	text := r.Text
	for _, l := range r.Literals {
		i := bytes.IndexByte(text, '\n') + 1
		n, err := w.Write(text[:i])
		total += int64(n)
		if err != nil {
			return total, err
		}
		text = text[i:]
		m, err := l.copyTo(w)
		total += m
		if err != nil {
			return total, err
		}
	}
	n, err := w.Write(append(bytes.Clone(text), "\r\n"...))
	return total + int64(n), err
}

func (l Literal) copyTo(w io.Writer) (int64, error) {
	r, err := l.Open()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	n, err := io.Copy(w, r)
	if err == nil && n != l.Size {
		err = fmt.Errorf("literal has %d octets, not %d: %w", n, l.Size, io.ErrUnexpectedEOF)
	}
	return n, err
}

// Tag is the command's tag, "" if it does not begin with one.
func (r Raw) Tag() string { return tagOf(r.Text) }

// tagOf is the tag that text begins with.
func tagOf(text []byte) string {
	for i, c := range text {
		if c == ' ' && i > 0 {
			return string(text[:i])
		}
		if !isTagChar(c) || i >= maxTag {
			return ""
		}
	}
	return ""
}

// Name is the command's name in upper case, "UID FETCH" with both words, "" if
// there is none. It looks at no more than that: a front end routes by it.
func (r Raw) Name() string { return nameOf(r.Text) }

func nameOf(text []byte) string {
	_, rest, _ := bytes.Cut(text, []byte{' '})
	word, rest := nextWord(rest)
	if word == "UID" {
		if second, _ := nextWord(rest); second != "" {
			return word + " " + second
		}
	}
	return word
}

func nextWord(b []byte) (string, []byte) {
	const longest = 32
	i := 0
	for i < len(b) && i < longest && isAtomChar(b[i]) {
		i++
	}
	word := string(bytes.ToUpper(b[:i]))
	if i < len(b) && b[i] == ' ' {
		i++
	}
	return word, b[i:]
}
