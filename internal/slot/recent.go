package slot

import (
	"sync"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
)

// recent keeps the newest batches in memory, so that the applier and the streams
// to replicas need not read back what was just written. The loop adds; others read.
type recent struct {
	mu      sync.Mutex
	batches []journal.Batch
	size    int
	changed chan struct{} // closed and replaced at each change
}

// recentBytes is how much is kept at most, and recentSpare how much of what
// nobody needs any more: an idle slot should hold little.
const (
	recentBytes = 8 << 20
	recentSpare = 64 << 10
)

func newRecent() *recent { return &recent{changed: make(chan struct{})} }

func (r *recent) add(b journal.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches = append(r.batches, b)
	r.size += len(b.Raw)
	r.shrink(recentBytes, b.End)
	r.wake()
}

// forget gives up what ends at or before lsn, but for a little.
func (r *recent) forget(lsn cluster.LSN) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shrink(recentSpare, lsn)
}

// shrink drops the oldest batches that end at or before lsn, never the newest one,
// until no more than limit octets are left. Called with mu held.
func (r *recent) shrink(limit int, lsn cluster.LSN) {
	n := 0
	for n < len(r.batches)-1 && r.size > limit && r.batches[n].End <= lsn {
		r.size -= len(r.batches[n].Raw)
		n++
	}
	if n > 0 {
		rest := copy(r.batches, r.batches[n:])
		clear(r.batches[rest:])
		r.batches = r.batches[:rest]
	}
}

// cut forgets batches that end after lsn.
func (r *recent) cut(lsn cluster.LSN) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := len(r.batches); n > 0 && r.batches[n-1].End > lsn; n-- {
		r.size -= len(r.batches[n-1].Raw)
		r.batches[n-1] = journal.Batch{}
		r.batches = r.batches[:n-1]
	}
	r.wake()
}

func (r *recent) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// from returns the batch that begins at lsn. When it is not here: old means that
// the journal has it; otherwise it is not written yet, and changed tells when
// there is something new.
func (r *recent) from(lsn cluster.LSN) (b journal.Batch, ok, old bool, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lo, hi := 0, len(r.batches)
	for lo < hi {
		if mid := (lo + hi) / 2; r.batches[mid].Base < lsn {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(r.batches) && r.batches[lo].Base == lsn {
		return r.batches[lo], true, false, nil
	}
	return journal.Batch{}, false, len(r.batches) == 0 || lsn < r.batches[0].Base, r.changed
}
