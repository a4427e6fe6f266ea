// Package fields writes and reads the fields of frames between machines: numbers as
// unsigned LEB128 in its shortest form, flags, ids of 16 octets, strings with their
// length before them, and sets of UIDs.
//
// It knows no frame: which fields one has, in which order, is its protocol's. What the
// functions append a [Decoder] reads back; of octets that they have not written it
// makes an error, never a panic, and takes no more memory than a few times their
// length. Nothing here is shared between goroutines.
package fields

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/mail"
)

// ErrMalformed means octets that no function of this package has written so.
var ErrMalformed = errors.New("malformed fields")

// AppendUint appends a number.
func AppendUint[T ~uint64 | ~uint32 | ~uint16 | ~uint8](dst []byte, v T) []byte {
	return binary.AppendUvarint(dst, uint64(v))
}

// AppendInt appends a number that may be negative: 0, -1, 1, -2 are 0, 1, 2, 3.
func AppendInt[T ~int64](dst []byte, v T) []byte { return binary.AppendVarint(dst, int64(v)) }

// AppendBool appends 0 or 1.
func AppendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// AppendString appends the length, then the octets.
func AppendString[T ~string | ~[]byte](dst []byte, s T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// AppendSet appends the number of ranges, then of each the gap to the end of the one
// before, and its UIDs less one.
func AppendSet(dst []byte, s mail.UIDSet) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	next := uint64(0)
	for _, r := range s {
		dst = binary.AppendUvarint(dst, uint64(r.Lo)-next)
		dst = binary.AppendUvarint(dst, uint64(r.Hi-r.Lo))
		next = uint64(r.Hi) + 1
	}
	return dst
}

// Decoder takes fields off octets, in order. After the first that is not there, or is
// out of range, it yields zeros, and End says so.
type Decoder struct {
	b   []byte
	bad bool
}

// NewDecoder reads b, which it does not change.
func NewDecoder(b []byte) *Decoder { return &Decoder{b: b} }

// End reports octets that could not be read, or that are left. ErrMalformed.
func (d *Decoder) End(what string) error {
	if d.bad {
		return fmt.Errorf("decode %s: %w", what, ErrMalformed)
	}
	if len(d.b) > 0 {
		return fmt.Errorf("decode %s: %d octets too many: %w", what, len(d.b), ErrMalformed)
	}
	return nil
}

// OK reports whether everything so far was there.
func (d *Decoder) OK() bool { return !d.bad }

// More reports whether there is anything left to read.
func (d *Decoder) More() bool { return len(d.b) > 0 }

// Fail makes what is read malformed: a value that the protocol does not have.
func (d *Decoder) Fail() { d.b, d.bad = nil, true }

// Uint takes a number that is not above limit.
func (d *Decoder) Uint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > limit || n > 1 && d.b[n-1] == 0 {
		d.Fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// U64 takes a number.
func (d *Decoder) U64() uint64 { return d.Uint(1<<64 - 1) }

// Size takes a number of octets, or a place in them.
func (d *Decoder) Size() int64 { return int64(d.Uint(1<<63 - 1)) }

// U32 takes a number of at most 32 bits.
func (d *Decoder) U32() uint32 { return uint32(d.Uint(1<<32 - 1)) }

// Int takes a number that may be negative.
func (d *Decoder) Int() int64 {
	v := d.U64()
	return int64(v>>1) ^ -int64(v&1)
}

// Bool takes 0 or 1.
func (d *Decoder) Bool() bool { return d.Uint(1) == 1 }

// Take takes n octets, not copied.
func (d *Decoder) Take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.Fail()
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

// Rest takes all octets that are left, not copied.
func (d *Decoder) Rest() []byte { return d.Take(len(d.b)) }

// Octets takes a string of at most limit octets, not copied.
func (d *Decoder) Octets(limit int) []byte { return d.Take(int(d.Uint(uint64(limit)))) }

// String takes a string of at most limit octets.
func (d *Decoder) String(limit int) string { return string(d.Octets(limit)) }

// ID takes 16 octets.
func (d *Decoder) ID() (id [16]byte) {
	copy(id[:], d.Take(len(id)))
	return id
}

// Count takes a number of things of at least size octets each, at most limit.
func (d *Decoder) Count(limit, size int) int {
	n := int(d.Uint(uint64(limit)))
	if n*size > len(d.b) {
		d.Fail()
		return 0
	}
	return n
}

// Set takes a set of at most limit ranges.
func (d *Decoder) Set(limit int) mail.UIDSet {
	n := d.Count(limit, 2)
	if n == 0 {
		return nil
	}
	s, next := make(mail.UIDSet, 0, n), uint64(0)
	for i := range n {
		gap, length := d.Uint(1<<32-1), d.Uint(1<<32-1)
		lo := next + gap
		hi := lo + length
		if hi > 1<<32-1 || lo == 0 || i > 0 && gap == 0 {
			d.Fail()
		}
		if d.bad {
			return nil
		}
		s = append(s, mail.UIDRange{Lo: mail.UID(lo), Hi: mail.UID(hi)})
		next = hi + 1
	}
	return s
}
