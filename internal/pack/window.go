package pack

import (
	"errors"
	"fmt"
	"io"
)

// windowStep is what is read at once by whoever goes through a whole pack.
const windowStep = 1 << 20

var errShort = errors.New("the file ends here")

// window reads a file in steps. Not for more than one goroutine.
type window struct {
	r    io.ReaderAt
	step int
	buf  []byte
	off  int64 // of buf in the file
}

// at returns the n octets at off, valid until the next call. errShort if the file
// has fewer; any other error is the device's.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off < w.off || off+int64(n) > w.off+int64(len(w.buf)) {
		err := w.fill(off, max(n, w.step))
		if err != nil && n < w.step {
			err = w.fill(off, n) // what cannot be read may be further on
		}
		if err != nil {
			return nil, err
		}
		if len(w.buf) < n {
			return nil, errShort
		}
	}
	return w.buf[off-w.off:][:n], nil
}

// peek is at without reading further than asked for.
func (w *window) peek(off int64, n int) ([]byte, error) {
	if off >= w.off && off+int64(n) <= w.off+int64(len(w.buf)) {
		return w.buf[off-w.off:][:n], nil
	}
	b := make([]byte, n)
	got, err := w.r.ReadAt(b, off)
	if got == n {
		return b, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return nil, errShort
	}
	return nil, fmt.Errorf("read %d octets: %w", n, err)
}

func (w *window) fill(off int64, n int) error {
	if off < 0 {
		return fmt.Errorf("read at %d", off)
	}
	if cap(w.buf) < n {
		w.buf = make([]byte, n)
	}
	got, err := w.r.ReadAt(w.buf[:n], off)
	w.buf, w.off = w.buf[:got], off
	if err != nil && !errors.Is(err, io.EOF) {
		w.buf = w.buf[:0]
		return fmt.Errorf("read %d octets: %w", n, err)
	}
	return nil
}

// header reads the entry header at off. The octets are valid until the next call.
func (w *window) header(off int64) (header, []byte, error) {
	b, err := w.at(off, headerFixed)
	if err != nil {
		return header{}, nil, err
	}
	n, err := headerSize(b)
	if err != nil {
		return header{}, nil, err
	}
	if b, err = w.at(off, n); err != nil {
		return header{}, nil, err
	}
	h, err := parseHeader(b)
	return h, b, err
}
