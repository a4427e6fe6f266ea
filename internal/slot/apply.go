package slot

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// applier feeds committed batches to the state machine. It is the only writer of
// the index.
type applier struct {
	*incarnation
	post func(replica.Event)

	mu     sync.Mutex
	target cluster.LSN
	wake   chan struct{} // buffer of one
}

// applyBytes is how much journal goes into one batch of the index at most, when
// the applier is behind.
const applyBytes = 2 << 20

// applyTo raises the target.
func (a *applier) applyTo(lsn cluster.LSN) {
	a.mu.Lock()
	a.target = max(a.target, lsn)
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *applier) goal() cluster.LSN {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.target
}

// run applies until ctx ends or something is wrong with the state.
func (a *applier) run(ctx context.Context) error {
	at := a.index.Applied().LSN
	for {
		for at < a.goal() && ctx.Err() == nil {
			next, err := a.round(at, a.goal())
			if err != nil {
				return err
			}
			at = next
			a.post(replica.Applied{LSN: at})
		}
		select {
		case <-a.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// applied is one operation's outcome on its way to whoever waits.
type applied struct {
	proposal *proposal // nil: not proposed here
	outcome  state.Outcome
}

// round applies whole journal batches from at on, in one batch of the index.
func (a *applier) round(at, target cluster.LSN) (cluster.LSN, error) {
	kv := a.index.NewBatch()
	var done []applied
	pos := cluster.Position{LSN: at}
	for size := 0; pos.LSN < target && size < applyBytes; {
		b, err := a.batchAt(pos.LSN)
		if err != nil {
			return at, fmt.Errorf("%w: read journal to apply at %d: %w", errFailed, pos.LSN, err)
		}
		for lsn, rec := range b.Records() {
			if done, err = a.applyRecord(kv, lsn, rec, done); err != nil {
				return at, err
			}
		}
		pos = b.Position()
		size += len(b.Raw)
		if a.marks.reached(pos.LSN) {
			break
		}
	}
	if err := kv.Commit(pos); err != nil {
		return at, fmt.Errorf("%w: write index at %d: %w", errFailed, pos.LSN, err)
	}
	a.marks.serve(pos.LSN, a.snapshot)
	for _, d := range done {
		a.publish(d)
	}
	return pos.LSN, nil
}

func (a *applier) batchAt(lsn cluster.LSN) (journal.Batch, error) {
	if b, ok, _, _ := a.recent.from(lsn); ok {
		return b, nil
	}
	return firstBatch(a.journal, lsn)
}

func (a *applier) applyRecord(kv state.KV, at cluster.LSN, rec journal.Record, done []applied) ([]applied, error) {
	if rec.Kind != journal.KindOperation && rec.Kind != journal.KindFork {
		return done, nil
	}
	d := applied{proposal: a.pending.next(at)}
	var op *operation.Operation
	if d.proposal != nil {
		op = d.proposal.op
	} else {
		var err error
		if op, err = operation.Decode(rec.Payload); err != nil {
			return done, fmt.Errorf("%w: decode operation at %d: %w", errFailed, at, err)
		}
	}
	var err error
	if d.outcome, err = a.apply(kv, at, rec.Level, op); err != nil {
		return done, fmt.Errorf("%w: apply operation at %d: %w", errFailed, at, err)
	}
	return append(done, d), nil
}

// apply is the one place where a panic of the state machine is recovered: it
// fails this slot alone.
func (a *applier) apply(kv state.KV, at cluster.LSN, level cluster.Level, op *operation.Operation) (out state.Outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return state.Apply(kv, at, level, op)
}

func (a *applier) publish(d applied) {
	for _, c := range d.outcome.Changed {
		a.hub.changed(c.Account, c.Mailboxes)
	}
	if d.proposal != nil {
		d.proposal.finish(outcome{result: d.outcome})
	}
}
