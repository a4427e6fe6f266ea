package journal

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Kind says what a record's payload is. The journal does not look inside.
type Kind uint8

const (
	KindBodyChunk   Kind = 1 // at most MaxChunk octets of a message body
	KindOperation   Kind = 2 // what the state machine applies
	KindEpochStart  Kind = 3 // the first record of a master's incarnation
	KindFork        Kind = 4 // the first record of a forced epoch
	KindLevel       Kind = 5 // the cluster's level rose
	KindStoreRecord Kind = 6 // epoch, master or in-sync set as recorded
)

// String is the kind's name.
func (k Kind) String() string {
	switch k {
	case KindBodyChunk:
		return "body-chunk"
	case KindOperation:
		return "operation"
	case KindEpochStart:
		return "epoch-start"
	case KindFork:
		return "fork"
	case KindLevel:
		return "level"
	case KindStoreRecord:
		return "store-record"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Record is the smallest thing with an LSN: that of the first octet of its header.
type Record struct {
	Kind    Kind
	Level   cluster.Level // at most 65535
	Payload []byte
}

// recordHeaderLen: kind u8, level u16, length u32.
const recordHeaderLen = 7

// Size returns the octets r takes in a batch.
func (r Record) Size() int { return recordHeaderLen + len(r.Payload) }

// RoomFor returns how many octets of records fit in one batch.
func RoomFor() int { return MaxBatch - batchHeaderLen }

func (r Record) check() error {
	switch {
	case r.Kind < KindBodyChunk || r.Kind > KindStoreRecord:
		return fmt.Errorf("record of unknown %v", r.Kind)
	case r.Level > math.MaxUint16:
		return fmt.Errorf("%v record: level %d exceeds %d", r.Kind, r.Level, math.MaxUint16)
	case r.Kind == KindBodyChunk && len(r.Payload) > MaxChunk:
		return fmt.Errorf("body chunk of %d octets: %w", len(r.Payload), ErrTooLarge)
	}
	return nil
}

func (r Record) appendTo(b []byte) []byte {
	b = append(b, byte(r.Kind))
	b = binary.LittleEndian.AppendUint16(b, uint16(r.Level))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Payload)))
	return append(b, r.Payload...)
}

// RecordHeader is a record without its payload.
type RecordHeader struct {
	Kind   Kind
	Level  cluster.Level
	Length int // of the payload, in octets
}

func parseRecordHeader(b []byte) RecordHeader {
	return RecordHeader{
		Kind:   Kind(b[0]),
		Level:  cluster.Level(binary.LittleEndian.Uint16(b[1:])),
		Length: int(binary.LittleEndian.Uint32(b[3:])),
	}
}

// checkTiling reports whether count records fill payload exactly.
func checkTiling(payload []byte, count int) error {
	for n := range count {
		if len(payload) < recordHeaderLen {
			return fmt.Errorf("record %d of %d: header cut short", n, count)
		}
		h := parseRecordHeader(payload)
		if h.Length > len(payload)-recordHeaderLen {
			return fmt.Errorf("record %d of %d: %d octets do not fit", n, count, h.Length)
		}
		payload = payload[recordHeaderLen+h.Length:]
	}
	if len(payload) != 0 {
		return fmt.Errorf("%d octets after the last of %d records", len(payload), count)
	}
	return nil
}
