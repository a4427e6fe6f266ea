package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/tandemail/tandemail/internal/cluster"
)

// window reads a file in large steps. Its memory is bounded by MaxBatch.
type window struct {
	file vfs.File
	buf  []byte
	off  int64 // of buf in the file
}

const windowStep = 1 << 20

var errShort = errors.New("the file ends here")

// at returns the n octets at off, valid until the next call. errShort if the file
// has fewer; any other error is the device's.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off < w.off || off+int64(n) > w.off+int64(len(w.buf)) {
		size := max(n, windowStep)
		if cap(w.buf) < size {
			w.buf = make([]byte, size)
		}
		got, err := w.file.ReadAt(w.buf[:size], off)
		w.buf, w.off = w.buf[:got], off
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read %d octets at %d: %w", size, off, err)
		}
		if got < n {
			return nil, errShort
		}
	}
	return w.buf[off-w.off:][:n], nil
}

// bad is why the octets at a place are no batch that belongs there; errors that
// are not bad are the device's, or cluster.ErrNewer.
type bad struct{ why error }

func (b bad) Error() string { return b.why.Error() }
func (b bad) Unwrap() error { return b.why }

// batch returns the whole batch at off, verified on its own but for its base.
// Its octets are valid until the next call.
func (w *window) batch(off int64) (Batch, error) {
	head, err := w.at(off, batchHeaderLen)
	if errors.Is(err, errShort) {
		return Batch{}, bad{err}
	} else if err != nil {
		return Batch{}, err
	}
	size, err := batchSize(head)
	if err != nil {
		return Batch{}, bad{err}
	}
	raw, err := w.at(off, size)
	if errors.Is(err, errShort) {
		return Batch{}, bad{err}
	} else if err != nil {
		return Batch{}, err
	}
	b, err := parseBatch(raw)
	if err != nil && !errors.Is(err, cluster.ErrNewer) {
		err = bad{err}
	}
	return b, err
}

// header is a batch header that was not verified by its checksum.
type header struct {
	epoch cluster.Epoch
	chain cluster.Chain
	err   error
}

// headers yields the unverified headers of the batches of s in [base, end), which
// they must fill exactly.
func headers(s *segment, end cluster.LSN) iter.Seq2[cluster.LSN, header] {
	return func(yield func(cluster.LSN, header) bool) {
		b := make([]byte, batchHeaderLen)
		for at := s.base.LSN; at < end; {
			err := readFull(s, b, at)
			size := 0
			if err == nil {
				size, err = batchSize(b)
			}
			le := binary.LittleEndian
			if err == nil && (cluster.LSN(le.Uint64(b[offBase:])) != at || at+cluster.LSN(size) > end) {
				err = fmt.Errorf("batch header at %d is of another place", at)
			}
			h := header{
				epoch: cluster.Epoch(le.Uint64(b[offEpoch:])),
				chain: cluster.Chain(b[offChain : offChain+32]),
				err:   err,
			}
			if !yield(at, h) || err != nil {
				return
			}
			at += cluster.LSN(size)
		}
	}
}
