package line

import (
	"bytes"
	"io"
)

// Canon brings message octets into their stored form as they stream by: a bare LF
// becomes CRLF, NUL becomes 0x80, everything else stays, a bare CR too, at any
// line length. The zero value is ready; one Canon serves one message.
//
// However the input is cut into pieces, the output is that of [Canonical].
type Canon struct {
	NULs    int64 // NUL octets replaced so far
	BareLFs int64 // LF octets that got a CR so far

	cr bool // the last input octet was CR
}

// Append appends the canonical form of src, the next piece of the message, to dst.
func (c *Canon) Append(dst, src []byte) []byte {
	if len(src) == 0 {
		return dst
	}
	start := len(dst)
	if first := c.firstBareLF(src, 0); first < 0 {
		dst = append(dst, src...)
	} else {
		dst = c.appendLines(dst, src, first)
	}
	c.cr = src[len(src)-1] == '\r'
	c.replaceNULs(dst[start:])
	return dst
}

// firstBareLF returns the index of the first bare LF in src at or after from, or -1.
func (c *Canon) firstBareLF(src []byte, from int) int {
	for {
		i := bytes.IndexByte(src[from:], '\n')
		if i < 0 {
			return -1
		}
		i += from
		if i > 0 && src[i-1] != '\r' || i == 0 && !c.cr {
			return i
		}
		from = i + 1
	}
}

func (c *Canon) appendLines(dst, src []byte, lf int) []byte {
	done := 0
	for lf >= 0 {
		dst = append(dst, src[done:lf]...)
		dst = append(dst, '\r', '\n')
		c.BareLFs++
		done = lf + 1
		lf = c.firstBareLF(src, done)
	}
	return append(dst, src[done:]...)
}

func (c *Canon) replaceNULs(b []byte) {
	for {
		i := bytes.IndexByte(b, 0)
		if i < 0 {
			return
		}
		b[i] = 0x80
		c.NULs++
		b = b[i+1:]
	}
}

// Canonical returns the stored form of a whole message, in fresh memory.
func Canonical(msg []byte) []byte {
	var c Canon
	return c.Append(make([]byte, 0, len(msg)), msg)
}

// CanonReader is Canon as an io.Reader over another.
type CanonReader struct {
	Canon

	src io.Reader
	in  []byte
	out []byte // canonical, not yet given away: out[off:]
	off int
	err error
}

// NewCanonReader returns the canonical form of what src gives.
func NewCanonReader(src io.Reader) *CanonReader {
	return &CanonReader{src: src, in: make([]byte, 16<<10)}
}

// Read implements io.Reader. Errors of the source come after the octets before them.
func (r *CanonReader) Read(p []byte) (int, error) {
	for r.off == len(r.out) && r.err == nil {
		var n int
		n, r.err = r.src.Read(r.in)
		r.out, r.off = r.Append(r.out[:0], r.in[:n]), 0
	}
	if r.off == len(r.out) {
		return 0, r.err
	}
	n := copy(p, r.out[r.off:])
	r.off += n
	return n, nil
}
