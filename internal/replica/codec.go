package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Frames on the wire (docs/protocol/replication.md):
//
//	length  uint32  octets after this field
//	version uint8   FrameVersion
//	type    uint8
//	payload
//	crc     uint32  CRC-32C over version, type and payload
//
// Integers are big-endian and fixed in width; strings have a uint16 length.

// FrameVersion is the version this build writes and the only one it reads.
const FrameVersion = 1

// MaxFrame bounds a frame, length field included: one batch and its header.
const MaxFrame = 8 << 20

const (
	frameOverhead = 4 + 1 + 1 + 4
	maxString     = 1 << 10
	maxRecord     = 1<<16 - 1
)

// Frame types on the wire.
const (
	typeHello byte = iota + 1
	typeWelcome
	typeBatch
	typeHeartbeat
	typeAck
	typeRecord
	typeBye
)

// ErrFrame is the error of every malformed frame: the session must end.
var ErrFrame = errors.New("malformed frame")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendFrame appends f in its wire form to b.
func AppendFrame(b []byte, f Frame) ([]byte, error) {
	at := len(b)
	w := writer{append(b, 0, 0, 0, 0, FrameVersion, 0)}
	typ := w.frame(f)
	b = w.b
	b[at+5] = typ
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b[at+4:], castagnoli))
	if len(b)-at > MaxFrame {
		return b[:at], fmt.Errorf("encode frame of %d octets: %w", len(b)-at, ErrFrame)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b, nil
}

// FrameSize returns the octets of the frame that begins with head (at least
// four octets), the length field included.
func FrameSize(head []byte) (int, error) {
	if len(head) < 4 {
		return 0, fmt.Errorf("frame length cut short: %w", ErrFrame)
	}
	n := binary.BigEndian.Uint32(head)
	if n < frameOverhead-4 || n > MaxFrame-4 {
		return 0, fmt.Errorf("frame of %d octets: %w", n, ErrFrame)
	}
	return int(n) + 4, nil
}

// DecodeFrame parses one whole frame. A Batch's Raw aliases b.
func DecodeFrame(b []byte) (Frame, error) {
	n, err := FrameSize(b)
	if err != nil {
		return nil, err
	}
	if n != len(b) {
		return nil, fmt.Errorf("frame of %d octets in %d: %w", n, len(b), ErrFrame)
	}
	body := b[4 : n-4]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[n-4:]) {
		return nil, fmt.Errorf("frame checksum: %w", ErrFrame)
	}
	if body[0] != FrameVersion {
		return nil, fmt.Errorf("frame version %d: %w", body[0], cluster.ErrNewer)
	}
	r := reader{b: body[2:]}
	f := r.frame(body[1])
	if r.bad || f == nil || len(r.b) != 0 {
		return nil, fmt.Errorf("frame type %d: %w", body[1], ErrFrame)
	}
	return f, nil
}

type writer struct{ b []byte }

func (w *writer) u8(v byte)             { w.b = append(w.b, v) }
func (w *writer) u64(v uint64)          { w.b = binary.BigEndian.AppendUint64(w.b, v) }
func (w *writer) lsn(v cluster.LSN)     { w.u64(uint64(v)) }
func (w *writer) epoch(v cluster.Epoch) { w.u64(uint64(v)) }
func (w *writer) chain(c cluster.Chain) { w.b = append(w.b, c[:]...) }
func (w *writer) pos(p cluster.Position) {
	w.lsn(p.LSN)
	w.epoch(p.Epoch)
	w.chain(p.Chain)
}

func (w *writer) str(s string, limit int) {
	if len(s) > limit {
		s = s[:limit]
	}
	w.b = binary.BigEndian.AppendUint16(w.b, uint16(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) frame(f Frame) byte {
	switch f := f.(type) {
	case Hello:
		w.hello(f)
		return typeHello
	case Welcome:
		w.u64(f.Stream)
		w.epoch(f.Epoch)
		w.u8(byte(f.Answer))
		w.pos(f.Start)
		w.str(f.Reason, maxString)
		return typeWelcome
	case Batch:
		w.u64(f.Stream)
		w.epoch(f.Epoch)
		w.lsn(f.Base)
		w.lsn(f.End)
		w.lsn(f.Commit)
		w.b = append(w.b, f.Raw...)
		return typeBatch
	case Heartbeat:
		w.u64(f.Stream)
		w.epoch(f.Epoch)
		w.lsn(f.Commit)
		w.u64(uint64(f.Stamp))
		return typeHeartbeat
	case Ack:
		w.u64(f.Stream)
		w.epoch(f.Epoch)
		w.lsn(f.Durable)
		w.lsn(f.Applied)
		w.u64(uint64(f.Stamp))
		w.u8(byte(f.Space))
		return typeAck
	case Record:
		w.u64(uint64(f.Rev))
		w.str(string(f.Record.Encode()), maxRecord)
		return typeRecord
	case Bye:
		w.str(f.Reason, maxString)
		return typeBye
	}
	panic(fmt.Sprintf("replica: frame %T", f))
}

func (w *writer) hello(h Hello) {
	w.str(h.Cluster, maxString)
	w.u64(h.Generation)
	w.str(string(h.Store), maxString)
	w.b = append(w.b, h.Slot[:]...)
	w.u8(byte(h.Kind))
	w.u8(byte(h.Health))
	w.u64(uint64(h.Incarnation))
	w.u64(h.Counter)
	w.u64(h.Stream)
	w.epoch(h.Epoch)
	w.lsn(h.Low)
	w.pos(h.End)
	w.lsn(h.Commit)
	w.lsn(h.Applied)
	starts := h.Starts
	if len(starts) > maxStarts {
		starts = starts[len(starts)-maxStarts:]
	}
	w.u8(byte(len(starts)))
	for _, s := range starts {
		w.epoch(s.Epoch)
		w.lsn(s.LSN)
		w.chain(s.Chain)
	}
}

// reader takes fields off b; after the first that is not there, bad is set and
// everything reads as zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return make([]byte, n)
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) u8() byte             { return r.take(1)[0] }
func (r *reader) u64() uint64          { return binary.BigEndian.Uint64(r.take(8)) }
func (r *reader) lsn() cluster.LSN     { return cluster.LSN(r.u64()) }
func (r *reader) epoch() cluster.Epoch { return cluster.Epoch(r.u64()) }
func (r *reader) chain() cluster.Chain { return cluster.Chain(r.take(32)) }

func (r *reader) pos() cluster.Position {
	return cluster.Position{LSN: r.lsn(), Epoch: r.epoch(), Chain: r.chain()}
}

func (r *reader) duration() time.Duration {
	v := r.u64()
	if v > math.MaxInt64 {
		r.bad = true
		return 0
	}
	return time.Duration(v)
}

func (r *reader) str(limit int) string {
	n := int(binary.BigEndian.Uint16(r.take(2)))
	if n > limit {
		r.bad = true
		return ""
	}
	return string(r.take(n))
}

// enum reads an octet that must be below n.
func (r *reader) enum(n byte) byte {
	v := r.u8()
	if v >= n {
		r.bad = true
	}
	return v
}

func (r *reader) frame(typ byte) Frame {
	switch typ {
	case typeHello:
		return r.hello()
	case typeWelcome:
		return Welcome{Stream: r.u64(), Epoch: r.epoch(), Answer: Answer(r.enum(byte(Apart) + 1)), Start: r.pos(), Reason: r.str(maxString)}
	case typeBatch:
		f := Batch{Stream: r.u64(), Epoch: r.epoch(), Base: r.lsn(), End: r.lsn(), Commit: r.lsn()}
		f.Raw = r.take(len(r.b))
		return f
	case typeHeartbeat:
		return Heartbeat{Stream: r.u64(), Epoch: r.epoch(), Commit: r.lsn(), Stamp: r.duration()}
	case typeAck:
		return Ack{Stream: r.u64(), Epoch: r.epoch(), Durable: r.lsn(), Applied: r.lsn(), Stamp: r.duration(), Space: Space(r.enum(byte(Refusing) + 1))}
	case typeRecord:
		return r.record()
	case typeBye:
		return Bye{Reason: r.str(maxString)}
	}
	return nil
}

func (r *reader) record() Frame {
	rev := r.u64()
	rec, err := cluster.DecodeStoreRecord([]byte(r.str(maxRecord)))
	if err != nil || rev > math.MaxInt64 {
		r.bad = true
	}
	return Record{Rev: cluster.Rev(rev), Record: rec}
}

func (r *reader) hello() Frame {
	h := Hello{
		Cluster: r.str(maxString), Generation: r.u64(), Store: cluster.Store(r.str(maxString)),
		Slot: cluster.SlotID(r.take(16)), Kind: Kind(r.enum(byte(Async) + 1)), Health: Health(r.enum(byte(Damaged) + 1)),
		Incarnation: cluster.Incarnation(r.u64()), Counter: r.u64(), Stream: r.u64(),
		Epoch: r.epoch(), Low: r.lsn(), End: r.pos(), Commit: r.lsn(), Applied: r.lsn(),
	}
	n := int(r.enum(maxStarts + 1))
	for range n {
		if r.bad {
			break
		}
		h.Starts = append(h.Starts, EpochStart{Epoch: r.epoch(), LSN: r.lsn(), Chain: r.chain()})
	}
	return h
}
