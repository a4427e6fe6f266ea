package message

import (
	"errors"
	"fmt"
	"io"
)

// ErrEncoding means a transfer encoding that nobody knows: UNKNOWN-CTE of
// RFC 3516.
var ErrEncoding = errors.New("unknown transfer encoding")

// OpenBinary gives the decoded octets of the part that path names, for BINARY
// (RFC 3516). Decoding skips what is wrong and never fails on it. An empty path is the
// whole message, as it is. false: no such part. The error is [ErrEncoding].
func (p *Part) OpenBinary(r io.ReaderAt, path []int) (io.Reader, bool, error) {
	if p = p.Find(path); p == nil {
		return nil, false, nil
	}
	if len(path) == 0 {
		return io.NewSectionReader(r, p.Header.Start, p.Body.End-p.Header.Start), true, nil
	}
	body := io.NewSectionReader(r, p.Body.Start, p.Body.Len())
	if p.IsMultipart() {
		return body, true, nil
	}
	out, ok := DecodeTransfer(body, p.Encoding)
	if !ok {
		return nil, true, fmt.Errorf("decode %.40q: %w", p.Encoding, ErrEncoding)
	}
	return out, true, nil
}

// BinarySize is the number of octets that [Part.OpenBinary] gives. It reads
// the part unless that is not encoded.
func (p *Part) BinarySize(r io.ReaderAt, path []int) (int64, bool, error) {
	b, ok, err := p.OpenBinary(r, path)
	if !ok || err != nil {
		return 0, ok, err
	}
	if s, plain := b.(*io.SectionReader); plain {
		return s.Size(), true, nil
	}
	n, err := io.Copy(io.Discard, b)
	if err != nil {
		return n, true, fmt.Errorf("measure decoded part: %w", err)
	}
	return n, true, nil
}

// DecodeTransfer undoes a Content-Transfer-Encoding, r itself for 7bit, 8bit and
// binary; false if the encoding is unknown. It fails only when r does.
func DecodeTransfer(r io.Reader, encoding string) (io.Reader, bool) {
	switch lower(encoding) {
	case "", "7bit", "8bit", "binary":
		return r, true
	case "base64":
		return &transferReader{r: r, codec: new(base64Decoder)}, true
	case "quoted-printable":
		return &transferReader{r: r, codec: new(quotedDecoder)}, true
	}
	return nil, false
}

// transferDecoder appends what src decodes to; last says that nothing follows.
type transferDecoder interface {
	decode(dst, src []byte, last bool) []byte
}

type transferReader struct {
	r     io.Reader
	codec transferDecoder
	in    [4096]byte
	buf   []byte // kept to be used again
	out   []byte // the part of buf not read yet
	err   error
}

// Read implements io.Reader.
func (t *transferReader) Read(p []byte) (int, error) {
	for len(t.out) == 0 {
		if t.err != nil {
			return 0, t.err
		}
		var n int
		n, t.err = t.r.Read(t.in[:])
		t.buf = t.codec.decode(t.buf[:0], t.in[:n], t.err == io.EOF)
		t.out = t.buf
	}
	n := copy(p, t.out)
	t.out = t.out[n:]
	return n, nil
}

// base64Decoder skips what is not in the alphabet. "=" ends a group; what follows
// begins a new one, as in concatenated encodings.
type base64Decoder struct {
	acc  uint32
	bits uint
}

func (d *base64Decoder) decode(dst, src []byte, _ bool) []byte {
	acc, bits := d.acc, d.bits
	for _, c := range src {
		v := base64Values[c]
		if v >= 64 {
			if c == '=' {
				acc, bits = 0, 0
			}
			continue
		}
		acc = acc<<6 | uint32(v)
		bits += 6
		if bits >= 8 {
			bits -= 8
			dst = append(dst, byte(acc>>bits))
		}
	}
	d.acc, d.bits = acc, bits
	return dst
}

var base64Values = func() (t [256]byte) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range t {
		t[i] = 0xff
	}
	for i := range len(alphabet) {
		t[alphabet[i]] = byte(i)
	}
	return t
}()

// quotedDecoder follows RFC 2045 6.7: white space before a line end goes, "="
// before one joins lines, and an "=" that encodes nothing stands for itself.
type quotedDecoder struct {
	held []byte // "=", "=X", or white space, with what follows still unknown
}

func (d *quotedDecoder) decode(dst, src []byte, last bool) []byte {
	for _, c := range src {
		dst = d.octet(dst, c)
	}
	if last {
		dst = d.release(dst, true)
	}
	return dst
}

func (d *quotedDecoder) octet(dst []byte, c byte) []byte {
	if len(d.held) == 0 {
		if c == '=' || isBlank(c) || c == '\r' {
			d.held = append(d.held, c)
			return dst
		}
		return append(dst, c)
	}
	switch {
	case c == '\n':
		return d.lineEnd(dst)
	case d.held[len(d.held)-1] == '\r':
		// A CR alone.
	case d.held[0] == '=' && len(d.held) == 1 && isHex(c):
		d.held = append(d.held, c)
		return dst
	case d.held[0] == '=' && len(d.held) == 2 && isHex(d.held[1]):
		if isHex(c) {
			dst = append(dst, unhex(d.held[1])<<4|unhex(c))
			d.held = d.held[:0]
			return dst
		}
	case c == '\r', isBlank(c) && len(d.held) < maxBlankRun:
		d.held = append(d.held, c)
		return dst
	}
	return d.octet(d.release(dst, false), c)
}

// lineEnd handles an LF behind held octets.
func (d *quotedDecoder) lineEnd(dst []byte) []byte {
	cr := d.held[len(d.held)-1] == '\r'
	switch {
	case d.held[0] == '=' && len(d.held) > 1 && isHex(d.held[1]):
		dst = append(dst, d.held...)
		dst = append(dst, '\n')
	case d.held[0] == '=':
	case cr:
		dst = append(dst, "\r\n"...)
	default:
		dst = append(dst, '\n')
	}
	d.held = d.held[:0]
	return dst
}

// release gives up what is held as what it looks like. At the end of the part a
// lone "=" and white space are those of a last line without line end.
func (d *quotedDecoder) release(dst []byte, last bool) []byte {
	n := len(d.held)
	if n == 0 {
		return dst
	}
	soft := d.held[0] == '=' && (n == 1 || isBlank(d.held[1]))
	if !last || d.held[n-1] == '\r' || !soft && !isBlank(d.held[0]) {
		dst = append(dst, d.held...)
	}
	d.held = d.held[:0]
	return dst
}

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

func unhex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
