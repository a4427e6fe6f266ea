package state

import (
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// BodyRecord is the replicated record of stored octets.
type BodyRecord struct {
	Length     int64
	SHA256     [32]byte
	References uint64 // messages with an extent over it; the record goes with the last
}

// Codec says how stored octets are packed. Sizes and hashes are of the plain ones.
type Codec uint8

// The codecs.
const CodecPlain Codec = 0

// Location is where this copy keeps a body: in a pack, or, until it was moved
// there, in one run of octets in the journal for each chunk. It is local, in no
// digest, and may be replaced at any time.
type Location struct {
	Codec  Codec    // of the chunks
	Chunks []Placed // none in a pack
	Pack   Packed
}

// Placed is one chunk in the journal: the LSN of its record and the octets in it.
type Placed struct {
	LSN    cluster.LSN
	Length uint32
}

// Packed is an entry of a pack: octets Offset to Offset+Size of its file.
type Packed struct {
	ID     uint64 // of the pack, never 0
	Offset int64
	Size   int64
}

// InPack reports whether a pack has the body.
func (l *Location) InPack() bool { return l.Pack.ID != 0 }

func (b *BodyRecord) encode(w *writer) {
	w.start()
	w.int(b.Length)
	w.raw(b.SHA256[:])
	w.uint(b.References)
}

func decodeBody(octets []byte) (b BodyRecord, err error) {
	var r reader
	r.start(octets)
	b.Length = r.int()
	b.SHA256 = r.hash()
	b.References = r.uint()
	return b, r.finish("body")
}

// packedVersion is the version of a location record that names a pack; one that
// names chunks has the version of all other records.
const packedVersion = 2

func (l *Location) encode(w *writer) {
	w.start()
	if l.InPack() {
		(*w)[0] = packedVersion
		w.fixed(l.Pack.ID)
		w.uint(uint64(l.Pack.Offset))
		w.uint(uint64(l.Pack.Size))
		return
	}
	w.octet(byte(l.Codec))
	w.uint(uint64(len(l.Chunks)))
	for _, c := range l.Chunks {
		w.uint(uint64(c.LSN))
		w.uint(uint64(c.Length))
	}
}

func decodeLocation(octets []byte) (l Location, err error) {
	if len(octets) > 0 && octets[0] == packedVersion {
		return decodePacked(octets[1:])
	}
	var r reader
	r.start(octets)
	l.Codec = Codec(r.octet())
	n := r.count(2)
	l.Chunks = make([]Placed, 0, n)
	for range n {
		l.Chunks = append(l.Chunks, Placed{cluster.LSN(r.uint()), r.uint32()})
	}
	if l.Codec > CodecPlain {
		r.newer = true
	}
	return l, r.finish("location")
}

func decodePacked(octets []byte) (l Location, err error) {
	r := reader{b: octets}
	l.Pack = Packed{ID: r.fixed(), Offset: int64(r.uint()), Size: int64(r.uint())}
	if p := l.Pack; p.ID == 0 || p.Offset < 0 || p.Size < 0 {
		r.fail()
	}
	return l, r.finish("location")
}

// ReadBody returns the record of a body; false when nothing refers to it.
func ReadBody(r Reader, id mail.BodyID) (BodyRecord, bool, error) {
	b, err := r.Get(bodyKey(nil, spaceBody, id))
	if err != nil || b == nil {
		return BodyRecord{}, false, bodyErr(err, id)
	}
	rec, err := decodeBody(b)
	return rec, err == nil, bodyErr(err, id)
}

// ReadLocation returns where this copy keeps a body; false when nothing refers to it.
func ReadLocation(r Reader, id mail.BodyID) (Location, bool, error) {
	b, err := r.Get(bodyKey(nil, spaceLocation, id))
	if err != nil || b == nil {
		return Location{}, false, bodyErr(err, id)
	}
	loc, err := decodeLocation(b)
	return loc, err == nil, bodyErr(err, id)
}

func bodyErr(err error, id mail.BodyID) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("body %d: %w", id, err)
}
