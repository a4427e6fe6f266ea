package slot

import (
	"context"
	"sync"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// A proposal is an operation on its way into the journal, with the chunks that
// must stand directly before it.
type proposal struct {
	records []journal.Record // chunks, then the operation last; nil op: chunks only
	size    int
	op      *operation.Operation // what the last record decodes to; nil for chunks only
	at      cluster.LSN          // of the operation, once appended
	chunks  []cluster.LSN        // of each record, once appended
	done    chan outcome         // buffer of one
}

type outcome struct {
	result state.Outcome
	err    error
}

// finish answers the proposer; only the first answer counts.
func (p *proposal) finish(o outcome) {
	select {
	case p.done <- o:
	default:
	}
}

// Bounds of what waits to be appended. A proposer beyond them is answered
// mail.ErrBusy at once: its client holds and asks again.
const (
	maxWaiting      = 8192
	maxWaitingBytes = 64 << 20
)

// batchTarget is how much one batch takes, if that much waits. Small enough for
// a single client's latency, large enough that a sync is shared.
const batchTarget = 1 << 20

// queue is what waits to be appended, in order.
type queue struct {
	mu     sync.Mutex
	items  []*proposal
	bytes  int
	closed error
	wake   chan struct{} // buffer of one: there is something, or less than there was
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// put adds p or says why not.
func (q *queue) put(p *proposal) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed != nil:
		return q.closed
	case len(q.items) >= maxWaiting || q.bytes+p.size > maxWaitingBytes:
		return mail.ErrBusy
	}
	q.items = append(q.items, p)
	q.bytes += p.size
	q.signal()
	return nil
}

// take removes up to max octets of proposals from the front, at least one.
func (q *queue) take(maxBytes int) []*proposal {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < len(q.items) && (n == 0 || size+q.items[n].size <= maxBytes) {
		size += q.items[n].size
		n++
	}
	out := append([]*proposal(nil), q.items[:n]...)
	rest := copy(q.items, q.items[n:])
	clear(q.items[rest:])
	q.items = q.items[:rest]
	q.bytes -= size
	return out
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) == 0
}

// shut answers everything that waits with err, since it did not happen, and
// refuses what comes later with it. nil opens the queue again.
func (q *queue) shut(err error) {
	q.mu.Lock()
	items := q.items
	q.closed = err
	if err != nil {
		q.items, q.bytes = nil, 0
	}
	q.mu.Unlock()
	if err != nil {
		for _, p := range items {
			p.finish(outcome{err: err})
		}
	}
}

// await returns p's outcome. When ctx ends first the outcome is unknown, unless
// it is there already.
func (p *proposal) await(ctx context.Context) (state.Outcome, error) {
	select {
	case o := <-p.done:
		return o.result, o.err
	case <-ctx.Done():
		return state.Outcome{}, mail.ErrUnknown
	}
}
