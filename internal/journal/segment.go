package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
)

// Segment file header, little-endian. It fills a block of its own, so that no
// write of a batch ever touches it.
const (
	segmentMagic     = "TMJSEGMT"
	segmentFormat    = 1
	segmentHeaderLen = 4096
	segmentUsed      = 104 // octets of the header that mean something; the rest is zero

	segFormat = 8  // u16
	segHeader = 10 // u16, header length
	segCRC    = 12 // u32, over the other octets of segmentUsed
	segStore  = 16 // 16 octets
	segBase   = 32 // u64, LSN
	segEpoch  = 40 // u64, epoch before base
	segCommit = 48 // u64, highest commit LSN before base
	segChain  = 56 // 32 octets, chain at base
	segZero   = 88 // 16 octets
)

const segmentSuffix = ".seg"

// segmentHead is what a segment file says of itself.
type segmentHead struct {
	base   cluster.Position
	commit cluster.LSN
}

// segment is an open segment file. Its batches are [base.LSN, end).
type segment struct {
	segmentHead
	path string
	file vfs.File
	sync *disk.File

	// Guarded by Journal.mu.
	end     cluster.LSN
	starts  []uint32 // of the batches, relative to base; nil if never walked
	refs    int      // readers
	retired bool     // no longer in the journal; closed with the last reader
}

// offset returns where lsn is in the file.
func (s *segment) offset(lsn cluster.LSN) int64 {
	return segmentHeaderLen + int64(lsn-s.base.LSN)
}

func (h segmentHead) encode(store [16]byte) []byte {
	b := make([]byte, segmentHeaderLen)
	copy(b, segmentMagic)
	le := binary.LittleEndian
	le.PutUint16(b[segFormat:], segmentFormat)
	le.PutUint16(b[segHeader:], segmentHeaderLen)
	copy(b[segStore:], store[:])
	le.PutUint64(b[segBase:], uint64(h.base.LSN))
	le.PutUint64(b[segEpoch:], uint64(h.base.Epoch))
	le.PutUint64(b[segCommit:], uint64(h.commit))
	copy(b[segChain:], h.base.Chain[:])
	le.PutUint32(b[segCRC:], segmentChecksum(b))
	return b
}

func segmentChecksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:segCRC], castagnoli), castagnoli, b[segStore:segmentUsed])
}

// parseSegmentHead verifies the header b of a file of this store.
func parseSegmentHead(b []byte, store [16]byte) (h segmentHead, err error) {
	le := binary.LittleEndian
	switch {
	case len(b) < segmentUsed || string(b[:len(segmentMagic)]) != segmentMagic:
		return h, errors.New("no segment header")
	case le.Uint32(b[segCRC:]) != segmentChecksum(b):
		return h, errors.New("segment header checksum mismatch")
	case le.Uint16(b[segFormat:]) != segmentFormat || le.Uint16(b[segHeader:]) != segmentHeaderLen:
		return h, fmt.Errorf("segment format %d: %w", le.Uint16(b[segFormat:]), cluster.ErrNewer)
	case [16]byte(b[segStore:segStore+16]) != store:
		return h, fmt.Errorf("segment of store %x: %w", b[segStore:segStore+16], ErrMismatch)
	}
	h.base.LSN = cluster.LSN(le.Uint64(b[segBase:]))
	h.base.Epoch = cluster.Epoch(le.Uint64(b[segEpoch:]))
	h.base.Chain = cluster.Chain(b[segChain : segChain+32])
	h.commit = cluster.LSN(le.Uint64(b[segCommit:]))
	return h, nil
}

func segmentName(base cluster.LSN) string { return fmt.Sprintf("%016x%s", uint64(base), segmentSuffix) }

// parseSegmentName returns the base LSN in a segment file's name.
func parseSegmentName(name string) (cluster.LSN, bool) {
	hex, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	return cluster.LSN(n), err == nil
}

// readHead reads and verifies the header of f.
func readHead(f vfs.File, store [16]byte) (segmentHead, error) {
	b := make([]byte, segmentUsed)
	if n, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return segmentHead{}, fmt.Errorf("read segment header: %w", err)
	} else if n < len(b) {
		return segmentHead{}, &CorruptError{Why: fmt.Errorf("segment header has %d octets", n)}
	}
	h, err := parseSegmentHead(b, store)
	if err != nil && !errors.Is(err, cluster.ErrNewer) && !errors.Is(err, ErrMismatch) {
		err = &CorruptError{Why: err}
	}
	return h, err
}
