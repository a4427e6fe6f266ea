package session

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/mail"
)

// ErrMalformed means octets that no Append function of this package has written.
var ErrMalformed = errors.New("malformed session data")

// MaxRanges bounds the ranges of a UID set, so that a unit's delta always fits
// its frame.
const MaxRanges = 50_000

// maxName bounds users, addresses, tags and texts, in octets.
const maxName = 1024

func appendString[T ~string | ~[]byte](dst []byte, s T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// appendSet appends the number of ranges, then of each the gap to the one before
// and the number of UIDs less one.
func appendSet(dst []byte, s mail.UIDSet) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	next := uint64(0)
	for _, r := range s {
		dst = binary.AppendUvarint(dst, uint64(r.Lo)-next)
		dst = binary.AppendUvarint(dst, uint64(r.Hi-r.Lo))
		next = uint64(r.Hi) + 1
	}
	return dst
}

// decoder reads what the functions above append. After the first fault it yields
// zeros, and err says so.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) err(what string) error {
	if d.bad {
		return fmt.Errorf("decode %s: %w", what, ErrMalformed)
	}
	if len(d.b) > 0 {
		return fmt.Errorf("decode %s: %d octets too many: %w", what, len(d.b), ErrMalformed)
	}
	return nil
}

func (d *decoder) fail() {
	d.b, d.bad = nil, true
}

// uint takes a number that is not above limit, in its shortest form.
func (d *decoder) uint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > limit || n > 1 && d.b[n-1] == 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) u64() uint64 { return d.uint(1<<64 - 1) }
func (d *decoder) u63() uint64 { return d.uint(1<<63 - 1) }
func (d *decoder) u32() uint32 { return uint32(d.uint(1<<32 - 1)) }
func (d *decoder) bool() bool  { return d.uint(1) == 1 }

// take takes n octets, not copied.
func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.fail()
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) rest() []byte { return d.take(len(d.b)) }

func (d *decoder) octets(limit int) []byte {
	return d.take(int(d.uint(uint64(limit))))
}

func (d *decoder) string(limit int) string { return string(d.octets(limit)) }

func (d *decoder) id() (id [16]byte) {
	copy(id[:], d.take(len(id)))
	return id
}

func (d *decoder) set() mail.UIDSet {
	n := int(d.uint(MaxRanges))
	if n > len(d.b)/2 { // a range has two octets at least
		d.fail()
		return nil
	}
	var s mail.UIDSet
	next := uint64(0)
	for i := range n {
		gap, length := d.uint(1<<32-1), d.uint(1<<32-1)
		lo := next + gap
		hi := lo + length
		if hi > 1<<32-1 || lo == 0 || i > 0 && gap == 0 {
			d.fail()
		}
		if d.bad {
			return nil
		}
		s = append(s, mail.UIDRange{Lo: mail.UID(lo), Hi: mail.UID(hi)})
		next = hi + 1
	}
	return s
}
