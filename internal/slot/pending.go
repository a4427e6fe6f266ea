package slot

import (
	"sync"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// pending are the proposals that were appended and not applied yet, in the
// journal's order. The loop adds, the applier takes.
type pending struct {
	mu    sync.Mutex
	items []*proposal
}

// add notes where each proposal of batch b stands in the journal. Proposals
// without an operation are chunks of a body: they are answered here, since their
// operation refers to them.
func (p *pending) add(b journal.Batch, batch []*proposal) {
	at := make([]cluster.LSN, 0, 2*len(batch))
	for lsn := range b.Records() {
		at = append(at, lsn)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pr := range batch {
		n := len(pr.records)
		pr.chunks, at = at[:n], at[n:]
		pr.at = pr.chunks[n-1]
		if pr.op == nil {
			pr.finish(outcome{})
			continue
		}
		p.items = append(p.items, pr)
	}
}

// next returns the proposal whose operation is at lsn, nil when it is not ours.
func (p *pending) next(lsn cluster.LSN) *proposal {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.items) == 0 || p.items[0].at != lsn {
		return nil
	}
	first := p.items[0]
	p.items[0] = nil
	p.items = p.items[1:]
	return first
}

// abandon answers everything "unknown": it was appended, so it may happen.
func (p *pending) abandon() {
	p.mu.Lock()
	items := p.items
	p.items = nil
	p.mu.Unlock()
	for _, pr := range items {
		pr.finish(outcome{result: state.Outcome{}, err: mail.ErrUnknown})
	}
}

// recent keeps the newest batches in memory, so that the applier and the streams
// to replicas need not read back what was just written. The loop adds; others read.
type recent struct {
	mu      sync.Mutex
	batches []journal.Batch
	size    int
	changed chan struct{} // closed and replaced at each change
}

// recentBytes is how much is kept.
const recentBytes = 16 << 20

func newRecent() *recent { return &recent{changed: make(chan struct{})} }

func (r *recent) add(b journal.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches = append(r.batches, b)
	r.size += len(b.Raw)
	n := 0
	for n < len(r.batches)-1 && r.size > recentBytes {
		r.size -= len(r.batches[n].Raw)
		n++
	}
	if n > 0 {
		rest := copy(r.batches, r.batches[n:])
		clear(r.batches[rest:])
		r.batches = r.batches[:rest]
	}
	r.wake()
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
