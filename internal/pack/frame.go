package pack

import (
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// Header of a frame, little-endian.
const (
	frameMagic     = "TMPF"
	frameHeaderLen = 24

	frmCRC     = 4  // u32, over body id u64, frame's number u32, octets from frmPayload on
	frmPayload = 8  // u32, CRC32C of the stored octets
	frmCodec   = 12 // u8
	frmZero    = 13 // 3 octets
	frmStored  = 16 // u32, octets that follow
	frmPlain   = 20 // u32, octets they decode to
)

// codec is how the octets of a frame are stored.
type codec uint8

const (
	codecPlain codec = 0
	codecZstd  codec = 1
	// codecVoid ends an entry whose octets turned out not to be the body's while
	// they were being written: it is none.
	codecVoid codec = 255
)

// errVoid: the writer gave up on the entry.
var errVoid = errors.New("entry was given up by its writer")

// frameHead is a frame without its octets.
type frameHead struct {
	codec         codec
	stored, plain int
	payload       uint32 // checksum
}

// put fills the header at the beginning of b.
func (f frameHead) put(b []byte, body mail.BodyID, number int) {
	copy(b, frameMagic)
	le.PutUint32(b[frmPayload:], f.payload)
	le.PutUint32(b[frmCodec:], uint32(f.codec))
	le.PutUint32(b[frmStored:], uint32(f.stored))
	le.PutUint32(b[frmPlain:], uint32(f.plain))
	le.PutUint32(b[frmCRC:], frameChecksum(b, body, number))
}

// frameChecksum binds a frame to its place in its body.
func frameChecksum(b []byte, body mail.BodyID, number int) uint32 {
	var place [12]byte
	le.PutUint64(place[:], uint64(body))
	le.PutUint32(place[8:], uint32(number))
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, b[frmPayload:frameHeaderLen])
}

// parseFrame verifies the header b of the numbered frame of h.
func (h *header) parseFrame(b []byte, number int) (f frameHead, err error) {
	if string(b[:len(frameMagic)]) != frameMagic || le.Uint32(b[frmCRC:]) != frameChecksum(b, h.Body, number) {
		return f, fmt.Errorf("frame %d: header checksum mismatch", number)
	}
	f = frameHead{
		codec: codec(b[frmCodec]), stored: int(le.Uint32(b[frmStored:])), plain: int(le.Uint32(b[frmPlain:])),
		payload: le.Uint32(b[frmPayload:]),
	}
	switch {
	case f.codec == codecVoid:
		return f, errVoid
	case f.codec > codecZstd || le.Uint32(b[frmCodec:])>>8 != 0:
		return f, fmt.Errorf("frame %d: codec %d: %w", number, f.codec, cluster.ErrNewer)
	case f.plain != h.plain(number) || f.stored > f.plain || f.codec == codecPlain && f.stored != f.plain:
		return f, fmt.Errorf("frame %d: %d octets for %d", number, f.stored, f.plain)
	}
	return f, nil
}

func payloadChecksum(stored []byte) uint32 { return crc32.Checksum(stored, castagnoli) }

// decode verifies the stored octets and returns the plain ones: stored itself, or
// decoded into dst's room if that suffices.
func (f frameHead) decode(d *Decoder, stored, dst []byte) ([]byte, error) {
	if payloadChecksum(stored) != f.payload {
		return nil, errors.New("checksum mismatch")
	}
	if f.codec == codecPlain {
		return stored, nil
	}
	return d.Decode(stored, dst, f.plain)
}
