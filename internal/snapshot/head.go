package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

const format = 1

// Header of a file, little-endian. The names follow the fixed part.
const (
	headMagic = "TMSNSNAP"
	headFixed = 128
	maxHead   = 4096

	hdFormat = 8   // u16
	hdZero   = 10  // u16
	hdLength = 12  // u32, of this header, names included
	hdCRC    = 16  // u32, over the other octets
	hdLevel  = 20  // u32
	hdID     = 24  // u64, drawn at random
	hdStore  = 32  // 16 octets
	hdSlot   = 48  // 16 octets
	hdLSN    = 64  // u64
	hdEpoch  = 72  // u64
	hdChain  = 80  // 32 octets
	hdTime   = 112 // i64, microseconds since 1970 UTC
	hdZero2  = 120 // 8 octets
)

// Head says what a snapshot is of.
type Head struct {
	Cluster  string
	Store    cluster.Store
	StoreID  [16]byte
	Slot     cluster.SlotID
	Position cluster.Position // everything before it is in, nothing behind
	Level    cluster.Level    // of the release that wrote it
	Time     time.Time        // when, to the microsecond
}

func (h *Head) encode(id uint64) ([]byte, error) {
	b := make([]byte, headFixed, headFixed+8+len(h.Cluster)+len(h.Store))
	copy(b, headMagic)
	le.PutUint16(b[hdFormat:], format)
	le.PutUint32(b[hdLevel:], uint32(h.Level))
	le.PutUint64(b[hdID:], id)
	copy(b[hdStore:], h.StoreID[:])
	copy(b[hdSlot:], h.Slot[:])
	le.PutUint64(b[hdLSN:], uint64(h.Position.LSN))
	le.PutUint64(b[hdEpoch:], uint64(h.Position.Epoch))
	copy(b[hdChain:], h.Position.Chain[:])
	le.PutUint64(b[hdTime:], uint64(h.Time.UnixMicro()))
	for _, s := range []string{h.Cluster, string(h.Store)} {
		b = append(le.AppendUint32(b, uint32(len(s))), s...)
	}
	if len(b) > maxHead {
		return nil, fmt.Errorf("names of %d octets: %w", len(b)-headFixed, ErrTooLarge)
	}
	le.PutUint32(b[hdLength:], uint32(len(b)))
	le.PutUint32(b[hdCRC:], checksum(b, hdCRC))
	return b, nil
}

// headSize returns how long the header is whose fixed part is b.
func headSize(b []byte) (int, error) {
	n := le.Uint32(b[hdLength:])
	if string(b[:len(headMagic)]) != headMagic || n < headFixed || n > maxHead {
		return 0, errors.New("no snapshot header")
	}
	return int(n), nil
}

// parseHead verifies b, which headSize has measured.
func parseHead(b []byte) (h Head, id uint64, err error) {
	if le.Uint32(b[hdCRC:]) != checksum(b, hdCRC) {
		return h, 0, errors.New("header checksum mismatch")
	}
	if f := le.Uint16(b[hdFormat:]); f != format || le.Uint16(b[hdZero:]) != 0 || le.Uint64(b[hdZero2:]) != 0 {
		return h, 0, fmt.Errorf("format %d: %w", f, cluster.ErrNewer)
	}
	h = Head{
		StoreID: [16]byte(b[hdStore:hdSlot]), Slot: cluster.SlotID(b[hdSlot:hdLSN]),
		Position: cluster.Position{
			LSN: cluster.LSN(le.Uint64(b[hdLSN:])), Epoch: cluster.Epoch(le.Uint64(b[hdEpoch:])), Chain: cluster.Chain(b[hdChain:hdTime]),
		},
		Level: cluster.Level(le.Uint32(b[hdLevel:])), Time: time.UnixMicro(int64(le.Uint64(b[hdTime:]))).UTC(),
	}
	rest := b[headFixed:]
	name := func() string {
		if len(rest) < 4 || uint64(le.Uint32(rest)) > uint64(len(rest)-4) {
			err = errors.New("names do not fit the header")
			return ""
		}
		s := string(rest[4 : 4+le.Uint32(rest)])
		rest = rest[4+len(s):]
		return s
	}
	h.Cluster, h.Store = name(), cluster.Store(name())
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d octets after the names", len(rest))
	}
	return h, le.Uint64(b[hdID:]), err
}

// checksum is over b but for the four octets at skip.
func checksum(b []byte, skip int) uint32 {
	return crc32.Update(crc32.Checksum(b[:skip], castagnoli), castagnoli, b[skip+4:])
}
