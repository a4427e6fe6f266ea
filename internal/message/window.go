package message

import (
	"bytes"
	"fmt"
	"io"
)

// window is a sliding view of a message. Octets already in memory are one
// window that never slides.
type window struct {
	r    io.ReaderAt // nil: buf is the whole message
	size int64
	base int64 // offset of buf[0]
	buf  []byte
	err  error // the first failed read; the message ends there
}

// at returns octets from pos on: at least want of them, or all that are left.
// They are valid until the next call.
func (w *window) at(pos int64, want int) []byte {
	if pos >= w.size {
		return nil
	}
	end := w.base + int64(len(w.buf))
	if pos >= w.base && pos < end && (end == w.size || end-pos >= int64(want)) {
		return w.buf[pos-w.base:]
	}
	return w.slide(pos, want)
}

func (w *window) slide(pos int64, want int) []byte {
	n := int(min(int64(max(want, windowSize)), w.size-pos))
	if cap(w.buf) < n {
		w.buf = make([]byte, n)
	}
	w.buf = w.buf[:n]
	w.base = pos
	got, err := w.r.ReadAt(w.buf, pos)
	if got < n {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		w.err = fmt.Errorf("read message of %d octets at %d: %w", w.size, pos+int64(got), err)
		w.buf = w.buf[:got]
		w.size = pos + int64(got)
	}
	return w.buf
}

// line returns the offset behind the line that begins at pos, and the number of
// LFs in it, which is 0 at the end of a message that lacks the last one.
func (w *window) line(pos int64) (next, feeds int64) {
	for pos < w.size {
		b := w.at(pos, 1)
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			return pos + int64(i) + 1, 1
		}
		pos += int64(len(b))
	}
	return w.size, 0
}

// text returns a copy of the octets of s.
func (w *window) text(s Span) string {
	b := w.at(s.Start, int(s.Len()))
	return string(b[:min(int64(len(b)), s.Len())])
}

// before returns the n octets before pos without sliding the window, and reads
// them on the side if they have left it.
func (w *window) before(pos int64, n int) ([]byte, bool) {
	from := pos - int64(n)
	if from >= w.base {
		return w.buf[from-w.base : pos-w.base], true
	}
	var b [8]byte
	if _, err := w.r.ReadAt(b[:n], from); err != nil && err != io.EOF {
		w.err = fmt.Errorf("read message of %d octets at %d: %w", w.size, from, err)
		return nil, false
	}
	return b[:n], true
}
