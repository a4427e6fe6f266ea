package journal

import (
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Sync makes every batch appended before the call durable and returns the LSN up
// to which that holds. It goes through the disk's scheduler and may run while the
// next batch is being appended. A failure is final.
func (j *Journal) Sync() (cluster.LSN, error) {
	j.mu.Lock()
	s, end, cuts := j.segs[len(j.segs)-1], j.end.LSN, j.cuts
	durable, err := j.durable, j.err
	if err == nil && durable < end {
		s.refs++
	}
	j.mu.Unlock()
	if err != nil || durable >= end {
		return durable, err
	}
	// Older segments were synced before this one was begun.
	err = s.sync.Sync()
	j.release(s)
	if err != nil {
		return durable, j.fail(err)
	}
	return j.setDurable(end, cuts)
}

// setDurable publishes end, unless a truncation came in between, and moves the mark.
func (j *Journal) setDurable(end cluster.LSN, cuts int) (cluster.LSN, error) {
	j.io <- struct{}{}
	defer func() { <-j.io }()
	j.mu.Lock()
	if j.cuts == cuts && end > j.durable {
		j.durable = end
	}
	end = j.durable
	j.mu.Unlock()
	if j.mark == nil || end <= j.mark.lsn {
		return end, nil
	}
	if err := j.mark.write(end); err != nil {
		return end, j.fail(fmt.Errorf("write durable mark: %w", err))
	}
	return end, nil
}
