package journal

import (
	"errors"
	"fmt"
	"io"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Record reads the record at an LSN that Append or Records gave. The checksum of
// its batch is not verified: whoever reads a body compares its SHA-256. Errors:
// ErrTrimmed, ErrBeyond, *CorruptError.
func (j *Journal) Record(at cluster.LSN) (Record, error) {
	h, err := j.RecordHeader(at)
	if err != nil {
		return Record{}, err
	}
	p := make([]byte, h.Length)
	if n, err := j.readPayload(p, at, 0, h); n < len(p) {
		return Record{}, err
	}
	return Record{Kind: h.Kind, Level: h.Level, Payload: p}, nil
}

// RecordHeader is Record without reading the payload.
func (j *Journal) RecordHeader(at cluster.LSN) (RecordHeader, error) {
	s, end, cuts, err := j.acquire(at, false)
	if err != nil {
		return RecordHeader{}, err
	}
	defer j.release(s)
	if at+recordHeaderLen > end {
		return RecordHeader{}, fmt.Errorf("record at %d, end %d: %w", at, end, ErrBeyond)
	}
	var b [recordHeaderLen]byte
	if err := readFull(s, b[:], at); err != nil {
		return RecordHeader{}, j.readFailed(at, cuts, err)
	}
	h := parseRecordHeader(b[:])
	if h.Kind == 0 || h.Length > MaxBatch || at+recordHeaderLen+cluster.LSN(h.Length) > end {
		return RecordHeader{}, j.readFailed(at, cuts, errors.New("no record begins here"))
	}
	return h, nil
}

// ReadPayloadAt reads len(p) octets of the payload of the record at an LSN, from
// offset off, like io.ReaderAt. Otherwise as Record.
func (j *Journal) ReadPayloadAt(p []byte, at cluster.LSN, off int64) (int, error) {
	h, err := j.RecordHeader(at)
	if err != nil {
		return 0, err
	}
	return j.readPayload(p, at, off, h)
}

func (j *Journal) readPayload(p []byte, at cluster.LSN, off int64, h RecordHeader) (n int, err error) {
	if off < 0 || off > int64(h.Length) {
		return 0, fmt.Errorf("read record at %d: offset %d of %d", at, off, h.Length)
	}
	if rest := int64(h.Length) - off; int64(len(p)) > rest {
		p, err = p[:rest], io.EOF
	}
	if len(p) == 0 {
		return 0, err
	}
	from := at + recordHeaderLen + cluster.LSN(off)
	s, _, cuts, failed := j.acquire(at, false)
	if failed != nil {
		return 0, failed
	}
	defer j.release(s)
	if failed := readFull(s, p, from); failed != nil {
		return 0, j.readFailed(at, cuts, failed)
	}
	return len(p), err
}
