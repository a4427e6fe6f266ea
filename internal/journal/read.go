package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/tandemail/tandemail/internal/cluster"
)

// acquire returns the segment that holds the octet at lsn, or, if last is set, the
// octet before it. The caller releases it; until then its file stays open and is
// not reused. cuts tells whether a truncation came in between.
func (j *Journal) acquire(lsn cluster.LSN, last bool) (s *segment, end cluster.LSN, cuts int, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case lsn < j.segs[0].base.LSN:
		return nil, 0, 0, fmt.Errorf("read journal at %d, low end %d: %w", lsn, j.segs[0].base.LSN, ErrTrimmed)
	case lsn > j.end.LSN:
		return nil, 0, 0, fmt.Errorf("read journal at %d, end %d: %w", lsn, j.end.LSN, ErrBeyond)
	}
	i := len(j.segs) - 1
	for i > 0 && (j.segs[i].base.LSN > lsn || last && j.segs[i].base.LSN == lsn) {
		i--
	}
	s = j.segs[i]
	if s.retired {
		return nil, 0, 0, j.err
	}
	s.refs++
	return s, s.end, j.cuts, nil
}

// release gives up a reference; the last one closes a retired segment.
func (j *Journal) release(s *segment) {
	j.mu.Lock()
	s.refs--
	closing := s.retired && s.refs == 0
	j.mu.Unlock()
	if closing {
		if err := s.file.Close(); err != nil {
			j.cfg.Log.Warn("close trimmed journal segment", "lsn", s.base.LSN, "err", err)
		}
	}
}

// Batches yields whole batches from the boundary from, to the end of the journal as
// it is when it gets there, whether durable or not. It stops before maxBytes would
// be exceeded, but not before the first batch; 0 is no limit. A sequence that cannot
// go on ends with an error: ErrTrimmed, ErrBeyond, ErrBoundary, *CorruptError.
// Checksums are verified, chains are not.
func (j *Journal) Batches(from cluster.LSN, maxBytes int) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		if _, err := j.boundary(from); err != nil {
			yield(Batch{}, err)
			return
		}
		sent := 0
		for at := from; ; {
			b, err := j.batchAt(at)
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield(Batch{}, err)
				return
			case maxBytes > 0 && sent > 0 && sent+len(b.Raw) > maxBytes:
				return
			case !yield(b, nil):
				return
			}
			sent += len(b.Raw)
			at = b.End
		}
	}
}

// batchAt reads the batch that begins at lsn; io.EOF at the end of the journal.
func (j *Journal) batchAt(lsn cluster.LSN) (Batch, error) {
	s, end, cuts, err := j.acquire(lsn, false)
	if err != nil {
		return Batch{}, err
	}
	defer j.release(s)
	if lsn >= end {
		return Batch{}, io.EOF
	}
	b, err := readBatch(s, lsn, end, j.cfg.StoreID)
	if err == nil {
		return b, nil
	}
	return Batch{}, j.readFailed(lsn, cuts, err)
}

// readFailed explains why octets below the end did not read as they should.
func (j *Journal) readFailed(lsn cluster.LSN, cuts int, err error) error {
	j.mu.Lock()
	cut := j.cuts != cuts
	j.mu.Unlock()
	if cut {
		return fmt.Errorf("read journal at %d while it was truncated: %w", lsn, ErrBeyond)
	}
	return &CorruptError{At: lsn, Why: err}
}

// readBatch reads and verifies the batch at lsn, which ends at or before end.
func readBatch(s *segment, lsn, end cluster.LSN, store [16]byte) (Batch, error) {
	if lsn+batchHeaderLen > end {
		return Batch{}, errors.New("no room for a batch header")
	}
	head := make([]byte, batchHeaderLen)
	if err := readFull(s, head, lsn); err != nil {
		return Batch{}, err
	}
	size, err := batchSize(head)
	if err != nil {
		return Batch{}, err
	}
	if lsn+cluster.LSN(size) > end {
		return Batch{}, fmt.Errorf("batch of %d octets reaches beyond the end", size)
	}
	raw := make([]byte, size)
	copy(raw, head)
	if err := readFull(s, raw[batchHeaderLen:], lsn+batchHeaderLen); err != nil {
		return Batch{}, err
	}
	b, err := parseBatch(raw)
	if err == nil && (b.Base != lsn || [16]byte(raw[offStore:offStore+16]) != store) {
		err = fmt.Errorf("batch of another place or store: %w", ErrMismatch)
	}
	return b, err
}

func readFull(s *segment, p []byte, lsn cluster.LSN) error {
	n, err := s.file.ReadAt(p, s.offset(lsn))
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d octets: %w", len(p), err)
}

// Bounds returns where the batch that holds the octet at lsn begins and ends. It
// believes the headers of batches, so that a reader can go on behind a damaged one.
// Errors: ErrTrimmed, ErrBeyond at and above the end, *CorruptError.
func (j *Journal) Bounds(lsn cluster.LSN) (lo, hi cluster.LSN, err error) {
	s, end, cuts, err := j.acquire(lsn, false)
	if err != nil {
		return 0, 0, err
	}
	defer j.release(s)
	if lsn >= end {
		return 0, 0, fmt.Errorf("batch at %d of the journal, end %d: %w", lsn, end, ErrBeyond)
	}
	starts, err := j.index(s, end)
	if err != nil {
		return 0, 0, j.readFailed(s.base.LSN, cuts, err)
	}
	i, _ := slices.BinarySearch(starts, uint32(lsn-s.base.LSN)+1)
	lo, hi = s.base.LSN+cluster.LSN(starts[i-1]), end
	if i < len(starts) {
		hi = min(hi, s.base.LSN+cluster.LSN(starts[i]))
	}
	return lo, hi, nil
}

// PositionAt returns epoch and chain at a batch boundary: those of the batch that
// ends there. From memory for the latest batches, else it reads one batch.
// Errors: ErrTrimmed, ErrBeyond, ErrBoundary, *CorruptError.
func (j *Journal) PositionAt(lsn cluster.LSN) (cluster.Position, error) {
	j.mu.Lock()
	i, ok := slices.BinarySearchFunc(j.recent, lsn, func(p cluster.Position, l cluster.LSN) int {
		return cmp.Compare(p.LSN, l)
	})
	if ok {
		defer j.mu.Unlock()
		return j.recent[i], nil
	}
	if low := j.segs[0].base; low.LSN == lsn {
		defer j.mu.Unlock()
		return low, nil
	}
	j.mu.Unlock()
	before, err := j.boundary(lsn)
	if err != nil {
		return cluster.Position{}, err
	}
	if before == lsn { // a Trim has just made it the low end
		return j.PositionAt(lsn)
	}
	b, err := j.batchAt(before)
	if err != nil {
		return cluster.Position{}, err
	}
	if b.End != lsn {
		return cluster.Position{}, fmt.Errorf("position %d: %w", lsn, ErrBoundary)
	}
	return b.Position(), nil
}

// ChainAt is PositionAt's chain.
func (j *Journal) ChainAt(lsn cluster.LSN) (cluster.Chain, error) {
	p, err := j.PositionAt(lsn)
	return p.Chain, err
}

// boundary verifies that lsn is a batch boundary and returns the base of the batch
// before it, or lsn itself at the low end.
func (j *Journal) boundary(lsn cluster.LSN) (cluster.LSN, error) {
	s, end, cuts, err := j.acquire(lsn, true)
	if err != nil {
		return 0, err
	}
	defer j.release(s)
	if lsn == s.base.LSN {
		return lsn, nil
	}
	starts, err := j.index(s, end)
	if err != nil {
		return 0, j.readFailed(s.base.LSN, cuts, err)
	}
	i, ok := slices.BinarySearch(starts, uint32(lsn-s.base.LSN))
	if !ok && lsn != end || i == 0 {
		return 0, fmt.Errorf("position %d: %w", lsn, ErrBoundary)
	}
	return s.base.LSN + cluster.LSN(starts[i-1]), nil
}

// index returns where the batches of s begin, walking the headers of a segment that
// Open trusted.
func (j *Journal) index(s *segment, end cluster.LSN) ([]uint32, error) {
	j.mu.Lock()
	starts := s.starts
	j.mu.Unlock()
	if starts != nil {
		return starts, nil
	}
	for at, h := range headers(s, end) {
		if h.err != nil {
			return nil, h.err
		}
		starts = append(starts, uint32(at-s.base.LSN))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if s.starts == nil {
		s.starts = starts
	}
	return starts, nil
}
