package journal

import (
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Trim gives up whole segments that end at or before an LSN; never the newest two
// of full size, which a message on its way in may span, nor what a Pin protects. Their files are reused for the next segments, since
// overwriting written blocks syncs faster. It may do less than asked, also because
// another Trim or a truncation is running; ask again. An error is final.
func (j *Journal) Trim(before cluster.LSN) error {
	j.mu.Lock()
	if j.err != nil || j.busy {
		defer j.mu.Unlock()
		return j.err
	}
	for lsn := range j.pins {
		before = min(before, *lsn)
	}
	n, most := 0, j.trimmable()
	for n < most && j.segs[n+1].base.LSN <= before {
		n++
	}
	gone := j.segs[:n]
	j.segs = append([]*segment(nil), j.segs[n:]...)
	read := make(map[*segment]bool)
	for _, s := range gone {
		s.retired, read[s] = true, s.refs > 0
	}
	j.dropEpochs()
	j.busy = true
	j.mu.Unlock()

	var err error
	for _, s := range gone { // oldest first, each before the next: never a gap
		if err = j.retire(s, read[s]); err != nil {
			err = j.fail(fmt.Errorf("trim segment at %d: %w", s.base.LSN, err))
			break
		}
	}
	j.mu.Lock()
	j.busy = false
	j.mu.Unlock()
	return err
}

// trimmable is how many of the oldest segments may go at most. Called with mu held.
func (j *Journal) trimmable() int {
	kept := int64(0)
	for i := len(j.segs) - 1; i >= 0; i-- {
		if kept >= 2*j.cfg.SegmentSize {
			return i + 1
		}
		kept += j.cfg.capacity(j.segs[i].base.LSN)
	}
	return 0
}

// retire takes the file of a segment out of the journal durably. It becomes a
// spare, or is deleted if there are enough or read says that readers had it when
// it left: they close it and still need its octets.
func (j *Journal) retire(s *segment, read bool) error {
	j.mu.Lock()
	spare := ""
	if !read && len(j.spares) < maxSpares {
		j.spareNo++
		spare = j.path(fmt.Sprintf("%s%d", sparePrefix, j.spareNo))
	}
	j.mu.Unlock()

	var err error
	if !read {
		err = s.file.Close()
	}
	if spare == "" {
		err = errors.Join(err, j.cfg.FS.Remove(s.path))
	} else {
		err = errors.Join(err, j.cfg.FS.Rename(s.path, spare))
	}
	if err = errors.Join(err, j.cfg.syncDir(j.cfg.Dir)); err == nil && spare != "" {
		j.mu.Lock()
		j.spares = append(j.spares, spare)
		j.mu.Unlock()
	}
	return err
}

// dropEpochs forgets epochs below the low end. Called with mu held.
func (j *Journal) dropEpochs() {
	low := j.segs[0].base
	for len(j.epochs) > 1 && j.epochs[1].LSN <= low.LSN {
		j.epochs = j.epochs[1:]
	}
	if len(j.epochs) > 0 && j.epochs[0].LSN < low.LSN {
		j.epochs[0].LSN, j.epochs[0].ChainBefore = low.LSN, low.Chain
	}
	for len(j.recent) > 0 && j.recent[0].LSN < low.LSN {
		j.recent = j.recent[1:]
	}
}

// Pin keeps everything from lsn on until release is called, as often as wanted.
// ErrTrimmed if it is already gone.
func (j *Journal) Pin(lsn cluster.LSN) (release func(), err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if low := j.segs[0].base.LSN; lsn < low {
		return nil, fmt.Errorf("pin journal at %d, low end %d: %w", lsn, low, ErrTrimmed)
	}
	j.pins[&lsn] = struct{}{}
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.pins, &lsn)
	}, nil
}
