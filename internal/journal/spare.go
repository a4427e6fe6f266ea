package journal

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
)

// firstSegment is the size of a store's first segment; the others are as large as
// all before them together, up to Config.SegmentSize.
const firstSegment = 4 << 20

// zeroStep is how much of a spare is written between two syncs: others' syncs on
// the device wait no longer than for that.
const zeroStep = 1 << 20

// capacity is the size of the segment that begins at base, header not counted.
func (cfg Config) capacity(base cluster.LSN) int64 {
	return min(cfg.SegmentSize, max(firstSegment, int64(base)))
}

// zerosWorth is the size of batches up to which written blocks are worth while: zeros
// cost by the octet, what they save is by the sync. Measured on ext4, a sync of new
// blocks takes 0.03 ms of processor time more, as much as writing 16 KiB of zeros.
const zerosWorth = 16 << 10

// look is what Prepare has seen of the journal's growth.
type look struct {
	end     cluster.LSN
	batches int
}

// dense reports whether what was appended since the last look came in batches too
// large for zeros to pay. Called with mu held.
func (j *Journal) dense() bool {
	was := j.looked
	j.looked = look{j.end.LSN, j.batches}
	n := j.batches - was.batches
	return n > 0 && j.end.LSN > was.end && int64(j.end.LSN-was.end)/int64(n) > zerosWorth
}

// Prepare makes a file of written blocks for the next segment, once the present one
// is half full and no trimmed file is there to be reused: a sync of an append to
// blocks that were never written costs twice as much, since the file system has to
// note that they are in use. Not while large batches come: then it waits for a lull.
// It is for a goroutine beside the appending one, and does nothing most of the
// time. Without it the journal is only slower. An error is not final, except that
// of a failed sync.
func (j *Journal) Prepare() error {
	j.mu.Lock()
	s := j.segs[len(j.segs)-1]
	size := j.cfg.capacity(s.base.LSN)
	if j.dense() || j.err != nil || j.preparing || len(j.spares) > 0 || int64(j.end.LSN-s.base.LSN) < size/2 {
		j.mu.Unlock()
		return nil
	}
	j.preparing = true
	j.spareNo++
	spare := j.path(fmt.Sprintf("%s%d", sparePrefix, j.spareNo))
	next := s.base.LSN + cluster.LSN(size)
	j.mu.Unlock()

	err := j.cfg.makeSpare(spare, segmentHeaderLen+j.cfg.capacity(next), j.Err)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.preparing = false
	if err != nil {
		return fmt.Errorf("prepare journal segment: %w", err)
	}
	if j.err == nil {
		j.spares = append(j.spares, spare)
	}
	return nil
}

// makeSpare gives the file its name when its blocks are written. It gives up when
// stop returns an error.
func (cfg Config) makeSpare(spare string, size int64, stop func() error) error {
	made := spare + temporarySuffix
	f, err := cfg.FS.Create(made, writeCategory)
	if err != nil {
		return err
	}
	err = cfg.zero(f, made, size, stop)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, cfg.FS.Remove(made))
	}
	return cfg.FS.Rename(made, spare)
}

// zero writes size octets, step by step, each made durable through the scheduler.
func (cfg Config) zero(f vfs.File, name string, size int64, stop func() error) error {
	sync := cfg.Disk.File(f, name)
	zeros := make([]byte, min(size, zeroStep))
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if err := stop(); err != nil {
			return err
		}
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
		if err := sync.Sync(); err != nil {
			return err
		}
	}
	return nil
}
