package deliver

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/tandemail/tandemail/internal/cluster"
)

// version of the wire form, the first octet of everything.
const version = 1

// maxString bounds every string in octets.
const maxString = 4 << 10

// errWire: the octets are not of this protocol.
var errWire = errors.New("malformed delivery message")

// writer appends fields; integers are big-endian, strings have a uint16 length.
type writer struct{ b []byte }

func (w *writer) u8(v uint8)      { w.b = append(w.b, v) }
func (w *writer) u16(v int)       { w.b = binary.BigEndian.AppendUint16(w.b, uint16(v)) }
func (w *writer) u32(v uint32)    { w.b = binary.BigEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64)    { w.b = binary.BigEndian.AppendUint64(w.b, v) }
func (w *writer) octets(p []byte) { w.b = append(w.b, p...) }

func (w *writer) bool(v bool) {
	if v {
		w.u8(1)
	} else {
		w.u8(0)
	}
}

// text is cut at the bound: what may be longer is only shown to people.
func (w *writer) text(s string) {
	s = s[:min(len(s), maxString)]
	w.u16(len(s))
	w.b = append(w.b, s...)
}

// reader takes fields off b; after the first that is not there, or that nobody
// writes, bad is set and everything is zero.
type reader struct {
	b   []byte
	bad bool
}

// take returns the next n octets, which alias b.
func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

// copied returns the next n octets, at most limit, in memory of their own.
func (r *reader) copied(n, limit uint32) []byte {
	if n > limit {
		r.bad = true
	}
	return bytes.Clone(r.take(int(n)))
}

func (r *reader) u8() uint8 {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) u16() int {
	if p := r.take(2); p != nil {
		return int(binary.BigEndian.Uint16(p))
	}
	return 0
}

func (r *reader) u32() uint32 {
	if p := r.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if p := r.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (r *reader) bool() bool {
	v := r.u8()
	r.bad = r.bad || v > 1
	return v == 1
}

func (r *reader) id() (id [16]byte) {
	copy(id[:], r.take(16))
	return id
}

func (r *reader) text() string {
	n := r.u16()
	if n > maxString {
		r.bad = true
	}
	return string(r.take(n))
}

// store is a text that names something.
func (r *reader) store() cluster.Store {
	s := r.text()
	r.bad = r.bad || s == ""
	return cluster.Store(s)
}

// count reads a number of items of at least size octets each, at most limit.
func (r *reader) count(limit, size int) int {
	n := r.u16()
	if n > limit || n*size > len(r.b) {
		r.bad = true
	}
	if r.bad {
		return 0
	}
	return n
}

// end reports whether everything was there and nothing is left.
func (r *reader) end() bool { return !r.bad && len(r.b) == 0 }
