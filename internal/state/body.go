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

// Location is where this copy keeps a body: one run of octets in the journal for
// each chunk. It is local, in no digest, and may be replaced at any time.
type Location struct {
	Codec  Codec
	Chunks []Placed
}

// Placed is one chunk in the journal: the LSN of its record and the octets in it.
type Placed struct {
	LSN    cluster.LSN
	Length uint32
}

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

func (l *Location) encode(w *writer) {
	w.start()
	w.octet(byte(l.Codec))
	w.uint(uint64(len(l.Chunks)))
	for _, c := range l.Chunks {
		w.uint(uint64(c.LSN))
		w.uint(uint64(c.Length))
	}
}

func decodeLocation(octets []byte) (l Location, err error) {
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

// WriteLocation replaces where this copy keeps a body: for whoever moved it,
// in the applier's own batch. It is no replicated change.
func WriteLocation(kv KV, id mail.BodyID, l Location) error {
	var w writer
	l.encode(&w)
	return bodyErr(kv.Set(bodyKey(nil, spaceLocation, id), w), id)
}

func bodyErr(err error, id mail.BodyID) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("body %d: %w", id, err)
}
