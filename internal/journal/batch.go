package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Batch header, little-endian. Magic, header length, base, payload length and
// checksum keep their places in every format, so that an older release can tell
// "newer" from "broken".
const (
	batchMagic     = "TMJB"
	batchFormat    = 1
	batchHeaderLen = 96

	offFormat  = 4  // u16
	offHeader  = 6  // u16, header length
	offBase    = 8  // u64, LSN
	offPayload = 16 // u32, payload length
	offCount   = 20 // u32, records
	offStore   = 24 // 16 octets
	offEpoch   = 40 // u64
	offCommit  = 48 // u64, LSN
	offZero    = 56 // u32, must be zero
	offCRC     = 60 // u32
	offChain   = 64 // 32 octets
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is a run of records that was written at once. Raw is immutable and may
// be kept and shared; records alias it.
type Batch struct {
	Base, End cluster.LSN // [Base, End)
	Epoch     cluster.Epoch
	Commit    cluster.LSN // known when it was written; at most Base
	Chain     cluster.Chain
	Raw       []byte // header and payload, the octets on disk and on the wire

	count int
}

// Position is the place right after b.
func (b Batch) Position() cluster.Position {
	return cluster.Position{LSN: b.End, Epoch: b.Epoch, Chain: b.Chain}
}

// Len returns the number of records.
func (b Batch) Len() int { return b.count }

// Records yields the records with their LSNs. Payloads alias Raw.
func (b Batch) Records() iter.Seq2[cluster.LSN, Record] {
	return func(yield func(cluster.LSN, Record) bool) {
		for off := batchHeaderLen; off < len(b.Raw); {
			h := parseRecordHeader(b.Raw[off:])
			end := off + recordHeaderLen + h.Length
			r := Record{Kind: h.Kind, Level: h.Level, Payload: b.Raw[off+recordHeaderLen : end : end]}
			if !yield(b.Base+cluster.LSN(off), r) {
				return
			}
			off = end
		}
	}
}

// encode builds the batch of recs that follows prev: the one copy of the payloads.
func encode(store [16]byte, prev cluster.Position, h Head, recs []Record) (Batch, error) {
	size := batchHeaderLen
	for _, r := range recs {
		if err := r.check(); err != nil {
			return Batch{}, err
		}
		if size += r.Size(); size > MaxBatch {
			return Batch{}, fmt.Errorf("batch of %d records: %w", len(recs), ErrTooLarge)
		}
	}
	if len(recs) == 0 {
		return Batch{}, errors.New("empty batch")
	}
	raw := make([]byte, batchHeaderLen, size)
	copy(raw, batchMagic)
	le := binary.LittleEndian
	le.PutUint16(raw[offFormat:], batchFormat)
	le.PutUint16(raw[offHeader:], batchHeaderLen)
	le.PutUint64(raw[offBase:], uint64(prev.LSN))
	le.PutUint32(raw[offPayload:], uint32(size-batchHeaderLen))
	le.PutUint32(raw[offCount:], uint32(len(recs)))
	copy(raw[offStore:], store[:])
	le.PutUint64(raw[offEpoch:], uint64(h.Epoch))
	le.PutUint64(raw[offCommit:], uint64(h.Commit))
	for _, r := range recs {
		raw = r.appendTo(raw)
	}
	chain := chainAfter(prev.Chain, raw)
	copy(raw[offChain:], chain[:])
	le.PutUint32(raw[offCRC:], checksum(raw))
	return Batch{
		Base: prev.LSN, End: prev.LSN + cluster.LSN(size),
		Epoch: h.Epoch, Commit: h.Commit, Chain: chain, Raw: raw, count: len(recs),
	}, nil
}

// chainAfter hashes the previous chain, the header before the checksum, and the payload.
func chainAfter(prev cluster.Chain, raw []byte) (c cluster.Chain) {
	h := sha256.New()
	h.Write(prev[:])
	h.Write(raw[:offCRC])
	h.Write(raw[batchHeaderLen:])
	h.Sum(c[:0])
	return c
}

// checksum covers every octet of the batch but its own four.
func checksum(raw []byte) uint32 {
	return crc32.Update(crc32.Checksum(raw[:offCRC], castagnoli), castagnoli, raw[offChain:])
}

// batchSize returns the whole length a batch claims to have from the first
// batchHeaderLen octets. Only a guess until its checksum is verified.
func batchSize(head []byte) (int, error) {
	if !bytes.HasPrefix(head, []byte(batchMagic)) {
		return 0, errors.New("no batch header")
	}
	hlen := int(binary.LittleEndian.Uint16(head[offHeader:]))
	plen := binary.LittleEndian.Uint32(head[offPayload:])
	if hlen < batchHeaderLen || plen > MaxBatch || hlen+int(plen) > MaxBatch {
		return 0, fmt.Errorf("batch header claims %d+%d octets", hlen, plen)
	}
	return hlen + int(plen), nil
}

// parseBatch verifies all of raw that can be verified without knowing what came
// before. A batch that is whole but of a newer format gives cluster.ErrNewer.
func parseBatch(raw []byte) (Batch, error) {
	if len(raw) < batchHeaderLen {
		return Batch{}, errors.New("batch header cut short")
	}
	le := binary.LittleEndian
	size, err := batchSize(raw)
	switch {
	case err != nil:
		return Batch{}, err
	case size != len(raw):
		return Batch{}, fmt.Errorf("batch of %d octets claims %d", len(raw), size)
	case le.Uint32(raw[offCRC:]) != checksum(raw):
		return Batch{}, errors.New("batch checksum mismatch")
	case le.Uint16(raw[offFormat:]) != batchFormat || le.Uint32(raw[offZero:]) != 0 || le.Uint16(raw[offHeader:]) != batchHeaderLen:
		return Batch{}, fmt.Errorf("batch format %d: %w", le.Uint16(raw[offFormat:]), cluster.ErrNewer)
	}
	base := cluster.LSN(le.Uint64(raw[offBase:]))
	b := Batch{
		Base: base, End: base + cluster.LSN(size),
		Epoch:  cluster.Epoch(le.Uint64(raw[offEpoch:])),
		Commit: cluster.LSN(le.Uint64(raw[offCommit:])),
		Chain:  cluster.Chain(raw[offChain : offChain+32]),
		Raw:    raw, count: int(le.Uint32(raw[offCount:])),
	}
	if b.End < b.Base || b.count == 0 {
		return Batch{}, errors.New("batch without records or beyond the last LSN")
	}
	return b, checkTiling(raw[batchHeaderLen:], b.count)
}

// follows verifies that b, already parsed, continues the history at prev.
func (b Batch) follows(store [16]byte, prev cluster.Position) error {
	switch {
	case [16]byte(b.Raw[offStore:offStore+16]) != store:
		return fmt.Errorf("batch of store %x: %w", b.Raw[offStore:offStore+16], ErrMismatch)
	case b.Base != prev.LSN:
		return fmt.Errorf("batch at %d, expected %d: %w", b.Base, prev.LSN, ErrMismatch)
	case b.Epoch < prev.Epoch:
		return fmt.Errorf("batch of epoch %d after epoch %d: %w", b.Epoch, prev.Epoch, ErrMismatch)
	case b.Commit > b.Base:
		return fmt.Errorf("batch at %d claims commit %d: %w", b.Base, b.Commit, ErrMismatch)
	case chainAfter(prev.Chain, b.Raw) != b.Chain:
		return fmt.Errorf("chain broken at %d: %w", b.Base, ErrMismatch)
	}
	return nil
}
