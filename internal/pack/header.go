package pack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

const format = 1

// Header of an entry, little-endian. Owners follow the fixed part.
const (
	entryMagic  = "TMPKBODY"
	headerFixed = 88

	entPack    = 8  // u64
	entFormat  = 16 // u16
	entZero    = 18 // u16
	entLength  = 20 // u32, this header with the owners
	entCRC     = 24 // u32, over the rest of the header
	entOwners  = 28 // u32, number
	entOmitted = 32 // u32
	entZero2   = 36 // u32
	entBody    = 40 // u64
	entPlain   = 48 // u64
	entSHA     = 56 // 32 octets
)

// header is an entry as it stands in a pack.
type header struct {
	Entry
	pack ID
	size int // octets, owners included
}

// frames is how many frames follow the header, if the writer did not give up.
func (h *header) frames() int {
	return int((h.Length + FrameSize - 1) / FrameSize)
}

// plain is how many plain octets the frame has.
func (h *header) plain(frame int) int {
	return int(min(FrameSize, h.Length-int64(frame)*FrameSize))
}

// minimum is the fewest octets the entry can take.
func (h *header) minimum() int64 { return int64(h.size) + int64(h.frames())*frameHeaderLen }

// appendHeader appends e's header; owners that do not fit are counted as omitted.
func (e *Entry) appendHeader(b []byte, id ID) []byte {
	start := len(b)
	b = append(b, entryMagic...)
	b = le.AppendUint64(b, uint64(id))
	b = le.AppendUint16(b, format)
	b = append(b, make([]byte, entBody-entZero)...)
	b = le.AppendUint64(b, uint64(e.Body))
	b = le.AppendUint64(b, uint64(e.Length))
	b = append(b, e.SHA256[:]...)
	n := 0
	for n < len(e.Owners) && len(b)-start+e.Owners[n].size() <= MaxHeader {
		b = e.Owners[n].appendTo(b)
		n++
	}
	h := b[start:]
	le.PutUint32(h[entLength:], uint32(len(h)))
	le.PutUint32(h[entOwners:], uint32(n))
	le.PutUint32(h[entOmitted:], uint32(e.Omitted+len(e.Owners)-n))
	le.PutUint32(h[entCRC:], headerChecksum(h))
	return b
}

// appendMoved appends the header raw of an entry of another pack as one of id.
func appendMoved(b, raw []byte, id ID) []byte {
	start := len(b)
	b = append(b, raw...)
	h := b[start:]
	le.PutUint64(h[entPack:], uint64(id))
	le.PutUint32(h[entCRC:], headerChecksum(h))
	return b
}

func headerChecksum(h []byte) uint32 { return checksum(h, entCRC) }

// checksum is over b but for the four octets at skip.
func checksum(b []byte, skip int) uint32 {
	return crc32.Update(crc32.Checksum(b[:skip], castagnoli), castagnoli, b[skip+4:])
}

var errNoEntry = errors.New("no entry begins here")

// headerSize returns how long the header is whose fixed part is b. Nothing but the
// magic is verified.
func headerSize(b []byte) (int, error) {
	if len(b) < headerFixed || string(b[:len(entryMagic)]) != entryMagic {
		return 0, errNoEntry
	}
	n := le.Uint32(b[entLength:])
	if n < headerFixed || n > MaxHeader {
		return 0, fmt.Errorf("entry header of %d octets", n)
	}
	return int(n), nil
}

// parseHeader verifies b, which headerSize has measured. It does not keep b.
func parseHeader(b []byte) (h header, err error) {
	if le.Uint32(b[entCRC:]) != headerChecksum(b) {
		return h, errors.New("entry header checksum mismatch")
	}
	if f := le.Uint16(b[entFormat:]); f != format || le.Uint16(b[entZero:]) != 0 || le.Uint32(b[entZero2:]) != 0 {
		return h, fmt.Errorf("entry of format %d: %w", f, cluster.ErrNewer)
	}
	h.pack, h.size = ID(le.Uint64(b[entPack:])), len(b)
	h.Body = mail.BodyID(le.Uint64(b[entBody:]))
	h.Length = int64(le.Uint64(b[entPlain:]))
	h.SHA256 = [32]byte(b[entSHA:headerFixed])
	h.Omitted = int(le.Uint32(b[entOmitted:]))
	if h.Length < 0 || h.Length > MaxLength {
		return h, fmt.Errorf("entry of %d octets", h.Length)
	}
	rest := b[headerFixed:]
	for range le.Uint32(b[entOwners:]) {
		o, after, ok := parseOwner(rest)
		if !ok {
			return h, errors.New("owners do not fit the entry header")
		}
		h.Owners, rest = append(h.Owners, o), after
	}
	if len(rest) > 0 {
		return h, fmt.Errorf("%d octets after the owners", len(rest))
	}
	return h, nil
}
