package state

import (
	"encoding/binary"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// Every stored record begins with a version octet. Integers are varints, octet
// strings carry their length, ids are 16 octets (docs/format/state.md). Records of
// accounts, hidden mailboxes, imported messages and the history of metadata and rights have later
// versions, with more fields; shared mailboxes a third.
const (
	recordVersion = 1
	secondVersion = 2
	thirdVersion  = 3
)

// writer appends the parts of a record.
type writer []byte

func (w *writer) start()          { w.startAs(recordVersion) }
func (w *writer) startAs(v byte)  { *w = append((*w)[:0], v) }
func (w *writer) uint(v uint64)   { *w = binary.AppendUvarint(*w, v) }
func (w *writer) int(v int64)     { *w = binary.AppendVarint(*w, v) }
func (w *writer) fixed(v uint64)  { *w = binary.BigEndian.AppendUint64(*w, v) }
func (w *writer) octet(v byte)    { *w = append(*w, v) }
func (w *writer) raw(b []byte)    { *w = append(*w, b...) }
func (w *writer) bytes(b []byte)  { w.uint(uint64(len(b))); w.raw(b) }
func (w *writer) string(s string) { w.uint(uint64(len(s))); *w = append(*w, s...) }

func (w *writer) uids(s mail.UIDSet) {
	w.uint(uint64(len(s)))
	last := mail.UID(0)
	for _, r := range s {
		w.uint(uint64(r.Lo - last))
		w.uint(uint64(r.Hi - r.Lo))
		last = r.Hi
	}
}

// reader takes a record apart. The first impossibility makes it bad, after which
// it gives zero values; finish reports it.
type reader struct {
	b     []byte
	bad   bool
	newer bool
}

func (r *reader) start(b []byte) { r.startUpTo(b, recordVersion) }

// startUpTo is start for a record of which there are several versions.
func (r *reader) startUpTo(b []byte, newest byte) (version byte) {
	r.b = b
	switch version = r.octet(); {
	case version > newest:
		r.newer = true
	case version == 0:
		r.bad = true
	}
	return version
}

// finish reports what was wrong with the record of that kind, trailing octets included.
func (r *reader) finish(kind string) error {
	switch {
	case r.newer:
		return fmt.Errorf("%s record: %w", kind, cluster.ErrNewer)
	case r.bad || len(r.b) != 0:
		return fmt.Errorf("%s record: %w", kind, cluster.ErrDamaged)
	}
	return nil
}

func (r *reader) fail() { r.bad, r.b = true, nil }

func (r *reader) uint() uint64 {
	// Most integers are one octet.
	if len(r.b) > 0 && r.b[0] < 0x80 {
		v := r.b[0]
		r.b = r.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// uint32 is a uint that has to fit.
func (r *reader) uint32() uint32 {
	v := r.uint()
	if v > 1<<32-1 {
		r.fail()
		return 0
	}
	return uint32(v)
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) fixed() uint64 {
	if b := r.raw(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) octet() byte {
	if b := r.raw(1); b != nil {
		return b[0]
	}
	return 0
}

// raw gives the next n octets without copying them, nil when there are fewer.
func (r *reader) raw(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail()
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	return r.raw(int(n))
}

func (r *reader) string() string { return string(r.bytes()) }

func (r *reader) id() (id [16]byte) {
	copy(id[:], r.raw(len(id)))
	return id
}

func (r *reader) hash() (h [32]byte) {
	copy(h[:], r.raw(len(h)))
	return h
}

// count is the length of a list whose items have at least min octets each, so
// that a damaged record cannot ask for more memory than it has octets.
func (r *reader) count(min int) int {
	n := r.uint()
	if n > uint64(len(r.b)/min) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) uids() mail.UIDSet {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	s := make(mail.UIDSet, 0, n)
	last := uint64(0)
	for i := range n {
		lo := last + r.uint()
		hi := lo + r.uint()
		if r.bad || lo == 0 || hi > 1<<32-1 || lo > hi || i > 0 && lo <= last+1 {
			r.fail()
			return nil
		}
		s = append(s, mail.UIDRange{Lo: mail.UID(lo), Hi: mail.UID(hi)})
		last = hi
	}
	return s
}
