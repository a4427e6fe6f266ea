package metrics

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/latency"
)

// Coord is a coord.Coord that times questions and remembers whether the latest was
// answered. Use NewCoord. Every mirror asks every two seconds, so that this is
// hardly older.
type Coord struct {
	coord.Coord
	now       func() time.Time
	reachable atomic.Bool // the latest question was answered
	asked     [len(operations)]struct {
		answered, failed atomic.Int64
		took             *latency.Histogram
	}
}

// Operations of a coordinator.
const (
	opGet = iota
	opList
	opTxn
	opLease
)

var operations = [...]string{opGet: "get", opList: "list", opTxn: "txn", opLease: "lease"}

// NewCoord returns c, timed with the clock now.
func NewCoord(c coord.Coord, now func() time.Time) *Coord {
	w := &Coord{Coord: c, now: now}
	for i := range w.asked {
		w.asked[i].took = latency.New(
			time.Millisecond, 2500*time.Microsecond, 5*time.Millisecond, 10*time.Millisecond, 25*time.Millisecond, 50*time.Millisecond,
			100*time.Millisecond, 250*time.Millisecond, 500*time.Millisecond, time.Second, 2500*time.Millisecond, 5*time.Second,
		)
	}
	return w
}

// note counts a question that was asked at begun.
func (w *Coord) note(op int, begun time.Time, err error) {
	if errors.Is(err, context.Canceled) {
		return // says nothing about the coordinator
	}
	a := &w.asked[op]
	a.took.Observe(w.now().Sub(begun))
	silent := errors.Is(err, coord.ErrUnavailable) || errors.Is(err, cluster.ErrUnknown) || errors.Is(err, context.DeadlineExceeded)
	if silent {
		a.failed.Add(1)
	} else {
		a.answered.Add(1)
	}
	w.reachable.Store(!silent)
}

// Get implements coord.Coord.
func (w *Coord) Get(ctx context.Context, key string) ([]byte, cluster.Rev, error) {
	begun := w.now()
	value, rev, err := w.Coord.Get(ctx, key)
	w.note(opGet, begun, err)
	return value, rev, err
}

// List implements coord.Coord.
func (w *Coord) List(ctx context.Context, prefix string) ([]coord.KV, cluster.Rev, error) {
	begun := w.now()
	kvs, rev, err := w.Coord.List(ctx, prefix)
	w.note(opList, begun, err)
	return kvs, rev, err
}

// Txn implements coord.Coord.
func (w *Coord) Txn(ctx context.Context, t coord.Txn) (bool, cluster.Rev, error) {
	begun := w.now()
	ok, rev, err := w.Coord.Txn(ctx, t)
	w.note(opTxn, begun, err)
	return ok, rev, err
}

// Lease implements coord.Coord.
func (w *Coord) Lease(ctx context.Context, ttl time.Duration) (coord.Lease, error) {
	begun := w.now()
	l, err := w.Coord.Lease(ctx, ttl)
	w.note(opLease, begun, err)
	return l, err
}

// coordinator is how this machine sees the coordinator.
type coordinator struct {
	reachable, requests, took *family

	coord *Coord
}

func newCoordinator(t *table, s Sources) *coordinator {
	return &coordinator{
		reachable: t.gauge("coordinator_reachable", "1 if the coordinator answered this machine's latest question."),
		requests:  t.counter("coordinator_requests_total", "Questions to the coordinator, by whether it answered.", "operation", "result"),
		took:      t.histogram("coordinator_request_seconds", "How long questions to the coordinator took.", "operation"),
		coord:     s.Coord,
	}
}

func (c *coordinator) collect(o out) {
	if c.coord == nil {
		return
	}
	o.flag(c.reachable, c.coord.reachable.Load())
	for op, name := range operations {
		a := &c.coord.asked[op]
		o.set(c.requests, float64(a.answered.Load()), name, "answered")
		o.set(c.requests, float64(a.failed.Load()), name, "failed")
		o.times(c.took, a.took.Counts(), name)
	}
}
