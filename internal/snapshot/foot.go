package snapshot

import (
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Footer of a file, its last octets, little-endian.
const (
	footMagic = "TMSNDONE"
	footLen   = 96

	ftID     = 8  // u64
	ftFormat = 16 // u16
	ftLength = 18 // u16, of this footer
	ftCRC    = 20 // u32, over the other octets
	ftBlocks = 24 // u64
	ftPairs  = 32 // u64
	ftPlain  = 40 // u64, plain octets of all blocks
	ftSize   = 48 // u64, octets of the file
	ftHash   = 56 // SHA-256 of everything before the footer
	ftZero   = 88 // 8 octets
)

// foot counts what is in a file.
type foot struct {
	blocks, pairs, plain uint64
	size                 int64
	hash                 [32]byte
}

func (f foot) appendTo(b []byte, id uint64) []byte {
	start := len(b)
	b = append(b, make([]byte, footLen)...)
	h := b[start:]
	copy(h, footMagic)
	le.PutUint64(h[ftID:], id)
	le.PutUint16(h[ftFormat:], format)
	le.PutUint16(h[ftLength:], footLen)
	le.PutUint64(h[ftBlocks:], f.blocks)
	le.PutUint64(h[ftPairs:], f.pairs)
	le.PutUint64(h[ftPlain:], f.plain)
	le.PutUint64(h[ftSize:], uint64(f.size))
	copy(h[ftHash:], f.hash[:])
	le.PutUint32(h[ftCRC:], checksum(h, ftCRC))
	return b
}

// isFoot reports whether b begins as the footer of file id does.
func isFoot(b []byte, id uint64) bool {
	return string(b[:len(footMagic)]) == footMagic && le.Uint64(b[ftID:]) == id
}

func parseFoot(b []byte) (f foot, err error) {
	if le.Uint32(b[ftCRC:]) != checksum(b, ftCRC) {
		return f, errors.New("footer checksum mismatch")
	}
	if v := le.Uint16(b[ftFormat:]); v != format || le.Uint16(b[ftLength:]) != footLen || le.Uint64(b[ftZero:]) != 0 {
		return f, fmt.Errorf("footer of format %d: %w", v, cluster.ErrNewer)
	}
	return foot{
		blocks: le.Uint64(b[ftBlocks:]), pairs: le.Uint64(b[ftPairs:]), plain: le.Uint64(b[ftPlain:]),
		size: int64(le.Uint64(b[ftSize:])), hash: [32]byte(b[ftHash:ftZero]),
	}, nil
}
