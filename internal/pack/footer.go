package pack

import (
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Header of a pack file, little-endian.
const (
	fileMagic     = "TMPKFILE"
	fileHeaderLen = 64

	filPack   = 8  // u64
	filFormat = 16 // u16
	filLength = 18 // u16, of this header
	filCRC    = 20 // u32, over the other octets
	filFrame  = 24 // u32, FrameSize
	filZero   = 28 // to the end
)

// Footer of a pack file, its last octets.
const (
	footerMagic = "TMPKDONE"
	footerLen   = 64

	ftrPack    = 8  // u64
	ftrFormat  = 16 // u16
	ftrLength  = 18 // u16, of this footer
	ftrCRC     = 20 // u32, over the other octets
	ftrTable   = 24 // u64, where the table of contents begins
	ftrEntries = 32 // u32
	ftrZero    = 36 // u32
	ftrPlain   = 40 // u64, plain octets of all bodies
	ftrSize    = 48 // u64, octets of the file
	ftrZero2   = 56 // to the end
)

func appendFileHeader(b []byte, id ID) []byte {
	start := len(b)
	b = append(b, make([]byte, fileHeaderLen)...)
	h := b[start:]
	copy(h, fileMagic)
	le.PutUint64(h[filPack:], uint64(id))
	le.PutUint16(h[filFormat:], format)
	le.PutUint16(h[filLength:], fileHeaderLen)
	le.PutUint32(h[filFrame:], FrameSize)
	le.PutUint32(h[filCRC:], checksum(h, filCRC))
	return b
}

func parseFileHeader(b []byte) (ID, error) {
	switch {
	case string(b[:len(fileMagic)]) != fileMagic:
		return 0, errors.New("no pack header")
	case le.Uint32(b[filCRC:]) != checksum(b, filCRC):
		return 0, errors.New("pack header checksum mismatch")
	case le.Uint16(b[filFormat:]) != format || le.Uint16(b[filLength:]) != fileHeaderLen || le.Uint32(b[filFrame:]) != FrameSize:
		return 0, fmt.Errorf("pack of format %d: %w", le.Uint16(b[filFormat:]), cluster.ErrNewer)
	}
	return ID(le.Uint64(b[filPack:])), nil
}

// footer is the end of a pack file.
type footer struct {
	pack    ID
	table   int64
	entries int
	plain   int64
}

func (f footer) size() int64 { return f.table + tableSize(f.entries) + footerLen }

func (f footer) appendTo(b []byte) []byte {
	start := len(b)
	b = append(b, make([]byte, footerLen)...)
	h := b[start:]
	copy(h, footerMagic)
	le.PutUint64(h[ftrPack:], uint64(f.pack))
	le.PutUint16(h[ftrFormat:], format)
	le.PutUint16(h[ftrLength:], footerLen)
	le.PutUint64(h[ftrTable:], uint64(f.table))
	le.PutUint32(h[ftrEntries:], uint32(f.entries))
	le.PutUint64(h[ftrPlain:], uint64(f.plain))
	le.PutUint64(h[ftrSize:], uint64(f.size()))
	le.PutUint32(h[ftrCRC:], checksum(h, ftrCRC))
	return b
}

// parseFooter verifies the last octets of a file of size octets.
func parseFooter(b []byte, size int64) (f footer, err error) {
	switch {
	case string(b[:len(footerMagic)]) != footerMagic:
		return f, errors.New("no pack footer")
	case le.Uint32(b[ftrCRC:]) != checksum(b, ftrCRC):
		return f, errors.New("pack footer checksum mismatch")
	case le.Uint16(b[ftrFormat:]) != format || le.Uint16(b[ftrLength:]) != footerLen:
		return f, fmt.Errorf("pack of format %d: %w", le.Uint16(b[ftrFormat:]), cluster.ErrNewer)
	}
	f = footer{
		pack: ID(le.Uint64(b[ftrPack:])), table: int64(le.Uint64(b[ftrTable:])),
		entries: int(le.Uint32(b[ftrEntries:])), plain: int64(le.Uint64(b[ftrPlain:])),
	}
	if f.entries > MaxEntries || f.table < fileHeaderLen || f.table > size || f.size() != size {
		return f, fmt.Errorf("footer of another file: %d entries, table at %d, file of %d octets", f.entries, f.table, size)
	}
	return f, nil
}
