package slot

import (
	"slices"
	"sync"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/replica"
)

// Bounds of what waits to be appended. A proposer beyond them is answered
// mail.ErrBusy at once: its client holds and asks again.
const (
	maxWaiting      = 8192
	maxWaitingBytes = 64 << 20
)

// maxHeld is how many ticks a proposal waits while the protocol takes none (a
// switchover, a stalled replica, a lone master that nobody confirms): longer than
// any of these lasts when it ends well, shorter than a client's patience.
const maxHeld = uint64(10e9 / replica.TickEvery)

// batchTarget is how much one batch takes, if that much waits. Small enough for
// a single client's latency, large enough that a sync is shared.
const batchTarget = 1 << 20

// batchWorth is how much has to wait for a batch to be appended while another is on
// its way: as Nagle's algorithm, this makes many small proposals travel, and be
// synced, together, and costs a lone one nothing.
const batchWorth = 128 << 10

// queue is what waits to be appended, in order. It begins closed: only a serving
// master takes proposals.
type queue struct {
	wake chan struct{} // buffer of one: there is something

	mu     sync.Mutex
	items  []*proposal
	bytes  int
	ticks  uint64
	closed error // why nothing is taken
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1), closed: mail.ErrMoved} }

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
	p.since = q.ticks
	q.items = append(q.items, p)
	q.bytes += p.size
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// take moves up to maxBytes of proposals from the front to dst, at least one if
// any waits.
func (q *queue) take(dst []*proposal, maxBytes int) []*proposal {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < len(q.items) && (n == 0 || size+q.items[n].size <= maxBytes) {
		size += q.items[n].size
		n++
	}
	dst = append(dst, q.items[:n]...)
	q.items = slices.Delete(q.items, 0, n)
	q.bytes -= size
	return dst
}

// withdraw takes p back and reports whether it was still there.
func (q *queue) withdraw(p *proposal) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.items, p)
	if i < 0 {
		return false
	}
	q.items = slices.Delete(q.items, i, i+1)
	q.bytes -= p.size
	return true
}

// waits returns how many proposals wait, and their octets.
func (q *queue) waits() (n, octets int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items), q.bytes
}

// open takes proposals from now on.
func (q *queue) open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = nil
}

// shut answers everything that waits with err, since it did not happen, and
// refuses what comes later with it.
func (q *queue) shut(err error) {
	q.mu.Lock()
	items := q.items
	q.closed, q.items, q.bytes = err, nil, 0
	q.mu.Unlock()
	for _, p := range items {
		p.finish(outcome{err: err})
	}
}

// tick answers mail.ErrBusy to what has waited for more than held ticks.
func (q *queue) tick(held uint64) {
	q.mu.Lock()
	q.ticks++
	n := 0
	for n < len(q.items) && q.ticks-q.items[n].since > held {
		q.bytes -= q.items[n].size
		n++
	}
	late := slices.Clone(q.items[:n])
	q.items = slices.Delete(q.items, 0, n)
	q.mu.Unlock()
	for _, p := range late {
		p.finish(outcome{err: mail.ErrBusy})
	}
}

// refuse answers everything that waits with err, and goes on taking.
func (q *queue) refuse(err error) {
	q.mu.Lock()
	items := q.items
	q.items, q.bytes = nil, 0
	q.mu.Unlock()
	answerAll(items, err)
}
