package journal

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/tandemail/tandemail/internal/cluster"
)

const writeCategory vfs.DiskWriteCategory = "journal"

// Append writes recs as one batch and gives them their LSNs. The batch is not
// durable until Sync. The payloads are copied once.
//
// Without room for a new segment the error wraps cluster.ErrFull, nothing was
// assigned and the journal can be used on. ErrTooLarge and impossible records or
// heads change nothing either. Any other error is final.
func (j *Journal) Append(h Head, recs []Record) (Batch, error) {
	prev, err := j.writable()
	if err != nil {
		return Batch{}, err
	}
	if h.Epoch < prev.Epoch || h.Commit > prev.LSN {
		return Batch{}, fmt.Errorf("append at %d, epoch %d: epoch %d or commit %d is impossible", prev.LSN, prev.Epoch, h.Epoch, h.Commit)
	}
	b, err := encode(j.cfg.StoreID, prev, h, recs)
	if err != nil {
		return Batch{}, fmt.Errorf("append to journal: %w", err)
	}
	return b, j.write(b)
}

// AppendRaw writes one batch that another journal of the store gave, the same
// octets at the same LSN, after verifying checksum, store, place, epoch and chain.
// It keeps raw in the result. A batch that does not fit gives ErrMismatch and
// changes nothing; one of a newer format gives cluster.ErrNewer. Otherwise as Append.
func (j *Journal) AppendRaw(raw []byte) (Batch, error) {
	prev, err := j.writable()
	if err != nil {
		return Batch{}, err
	}
	b, err := parseBatch(raw)
	if err != nil {
		if !errors.Is(err, cluster.ErrNewer) {
			err = fmt.Errorf("%w: %w", ErrMismatch, err)
		}
		return Batch{}, fmt.Errorf("append received batch: %w", err)
	}
	if err := b.follows(j.cfg.StoreID, prev); err != nil {
		return Batch{}, fmt.Errorf("append received batch: %w", err)
	}
	return b, j.write(b)
}

func (j *Journal) writable() (cluster.Position, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.end, j.err
}

// write puts b at the end: the only place where batches reach a file.
func (j *Journal) write(b Batch) error {
	if b.End-j.Durable() > Unsynced {
		if _, err := j.Sync(); err != nil {
			return err
		}
	}
	j.mu.Lock()
	s := j.segs[len(j.segs)-1]
	j.mu.Unlock()
	if b.Base > s.base.LSN && int64(b.End-s.base.LSN) > j.cfg.capacity(s.base.LSN) {
		var err error
		if s, err = j.rotate(); err != nil {
			return err
		}
	}
	n := 0
	if err := j.cfg.Disk.Write(func() (err error) {
		n, err = s.file.WriteAt(b.Raw, s.offset(b.Base))
		return err
	}); err != nil {
		err = fmt.Errorf("write batch at %d: %w", b.Base, err)
		if n == 0 && noSpace(err) {
			return fmt.Errorf("%w: %w", cluster.ErrFull, err)
		}
		return j.fail(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.noteBatch(s, b)
	return nil
}

// rotate makes everything durable and opens the next segment.
func (j *Journal) rotate() (*segment, error) {
	if _, err := j.Sync(); err != nil {
		return nil, err
	}
	j.mu.Lock()
	head := segmentHead{base: j.end, commit: j.commit}
	var spare string
	if n := len(j.spares); n > 0 {
		spare, j.spares = j.spares[n-1], j.spares[:n-1]
	}
	j.mu.Unlock()
	s, err := newSegment(j.cfg, head, spare)
	if err != nil {
		if noSpace(err) {
			return nil, fmt.Errorf("%w: %w", cluster.ErrFull, err)
		}
		return nil, j.fail(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.segs = append(j.segs, s)
	return s, nil
}

// newSegment reserves a file, in the blocks of spare if there is one, and gives it
// its name when its header is durable.
func newSegment(cfg Config, h segmentHead, spare string) (*segment, error) {
	made := spare
	if made == "" {
		made = cfg.FS.PathJoin(cfg.Dir, "segment"+temporarySuffix)
	}
	s := &segment{segmentHead: h, end: h.base.LSN, path: cfg.FS.PathJoin(cfg.Dir, segmentName(h.base.LSN))}
	f, err := cfg.FS.OpenReadWrite(made, writeCategory)
	if err != nil {
		return nil, fmt.Errorf("create segment at %d: %w", h.base.LSN, err)
	}
	s.file, s.sync = f, cfg.Disk.File(f, s.path)
	if err := s.prepare(cfg, made); err != nil {
		// It has no name yet; Open deletes what is left of it.
		return nil, errors.Join(fmt.Errorf("create segment at %d: %w", h.base.LSN, err), f.Close(), cfg.FS.Remove(made))
	}
	if err := cfg.FS.Rename(made, s.path); err != nil {
		return nil, errors.Join(fmt.Errorf("name segment at %d: %w", h.base.LSN, err), f.Close())
	}
	if err := cfg.syncDir(cfg.Dir); err != nil {
		// Not "no space" to the caller: the name may or may not be there.
		return nil, errors.Join(fmt.Errorf("name segment at %d: %v", h.base.LSN, err), f.Close())
	}
	return s, nil
}

func (s *segment) prepare(cfg Config, made string) error {
	err := s.file.Preallocate(0, segmentHeaderLen+cfg.capacity(s.base.LSN))
	if err != nil && !errors.Is(err, syscall.EOPNOTSUPP) && !errors.Is(err, syscall.ENOSYS) {
		return fmt.Errorf("reserve %s: %w", made, err)
	}
	if _, err := s.file.WriteAt(s.encode(cfg.StoreID), 0); err != nil {
		return fmt.Errorf("write header of %s: %w", made, err)
	}
	return s.sync.Sync()
}
