package slot

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

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
	post    func(replica.Event)
	replay  *replay
	flusher *flusher
	reached cluster.Level // the state's

	at    atomic.Uint64 // LSN: how far it is; the loop looks with each tick
	eager atomic.Bool   // the protocol waits to hear of it at once

	moves  chan *relocations
	moving *relocations // at hand, nil for none
	passed int          // rounds that went before them

	mu     sync.Mutex
	target cluster.LSN
	wake   chan struct{} // buffer of one
}

// errOperation: the state machine cannot apply an operation; a *badOperation says which.
var errOperation = errors.New("operation cannot be applied")

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
			next, err := a.advance(at, a.goal())
			if err != nil {
				return err
			}
			at = next
			a.at.Store(uint64(at))
			if a.eager.Load() {
				a.post(replica.Applied{LSN: at})
			}
			a.flusher.applied(at)
			if err := a.aside(); err != nil {
				return err
			}
		}
		if a.moving != nil && ctx.Err() == nil {
			if err := a.portion(); err != nil {
				return err
			}
			continue // an operation may have come
		}
		select {
		case <-a.wake:
		case a.moving = <-a.moves:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// advance applies some of what is before target. After a bad operation it applies
// the batches before its own one by one, so that nothing good is left out.
func (a *applier) advance(at, target cluster.LSN) (cluster.LSN, error) {
	limit := applyBytes
	careful, err := a.replay.goesOn(at)
	if err != nil {
		return at, err
	}
	if careful {
		limit = 1
	}
	next, err := a.round(at, target, limit)
	if errors.Is(err, errOperation) && limit > 1 {
		next, err = a.round(at, target, 1)
	}
	return next, err
}

// applied is one operation's outcome on its way to whoever waits.
type applied struct {
	proposal *proposal // nil: not proposed here
	outcome  state.Outcome
}

// work is one batch of the index in the making.
type work struct {
	*applier
	kv      state.KV
	waiting []*proposal // those not reached yet
	octets  int         // of operations
	done    []applied
	raised  cluster.Level // what the state's level has become; 0: as it was
}

// round applies whole journal batches from at on, at least one and about limit
// octets, in one batch of the index.
func (a *applier) round(at, target cluster.LSN, limit int) (_ cluster.LSN, err error) {
	kv := a.index.NewBatch()
	defer func() { err = errors.Join(err, kv.Close()) }()
	w := &work{applier: a, kv: kv, waiting: a.pending.upTo(target), done: a.scratch[:0]}
	pos := cluster.Position{LSN: at}
	for size := 0; pos.LSN < target && size < limit; {
		b, err := a.batchAt(pos.LSN)
		if err != nil {
			return at, fmt.Errorf("%w: read journal to apply at %d: %w", errFailed, pos.LSN, err)
		}
		if err := w.batch(b); err != nil {
			return at, err
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
	a.saver.applied.Add(int64(w.octets))
	a.reached = max(a.reached, w.raised)
	a.marks.serve(pos.LSN, a.snapshot)
	for i := range w.done {
		a.publish(&w.done[i])
	}
	a.pending.drop(pos.LSN)
	clear(w.done)
	a.scratch = w.done[:0]
	return pos.LSN, nil
}

func (a *applier) batchAt(lsn cluster.LSN) (journal.Batch, error) {
	if b, ok, _, _ := a.recent.from(lsn); ok {
		return b, nil
	}
	return firstBatch(a.journal, lsn)
}

func (a *applier) publish(d *applied) {
	a.watchers.Notify(d.outcome.Changed)
	if d.proposal != nil {
		d.proposal.finish(outcome{result: d.outcome})
	}
}

// batch applies the operations of b.
func (w *work) batch(b journal.Batch) error {
	for lsn, rec := range b.Records() {
		if err := w.understands(rec); err != nil {
			return w.bad(lsn, rec, err)
		}
		if rec.Kind != journal.KindOperation && rec.Kind != journal.KindFork {
			continue
		}
		if err := w.operation(lsn, rec); err != nil {
			return err
		}
	}
	return nil
}

// operation applies one. It is the one place where a panic of the state machine is
// recovered: it fails this slot alone.
func (w *work) operation(at cluster.LSN, rec journal.Record) (err error) {
	defer func() {
		if p := recover(); p != nil {
			bad := newBad(at, rec, fmt.Errorf("%w: panic: %v", errOperation, p))
			bad.stack, err = debug.Stack(), bad
		}
	}()
	d := applied{proposal: w.proposal(at)}
	if d.outcome, err = w.apply(at, rec, d.proposal); err != nil {
		return err
	}
	w.done = append(w.done, d)
	w.octets += len(rec.Payload)
	return nil
}

func (w *work) apply(at cluster.LSN, rec journal.Record, p *proposal) (out state.Outcome, err error) {
	if cluster.Skips(w.skips, at) {
		return w.skip(at, rec)
	}
	if err := w.replay.before(at); err != nil {
		return out, w.bad(at, rec, err)
	}
	var op *operation.Operation
	if p != nil {
		op = p.op
	} else if op, err = operation.Decode(rec.Payload); err != nil {
		return out, w.bad(at, rec, err)
	}
	apply := w.cfg.Apply
	if apply == nil {
		apply = state.Apply
	}
	if out, err = apply(w.kv, at, rec.Level, op); err == nil {
		err = w.noteLevel(rec.Level)
	}
	if err != nil {
		return out, w.bad(at, rec, err)
	}
	return out, nil
}

// skip does what takes the place of an operation that the store has given up.
func (w *work) skip(at cluster.LSN, rec journal.Record) (state.Outcome, error) {
	op, err := operation.Decode(rec.Payload)
	if errors.Is(err, operation.ErrMalformed) {
		op, err = nil, nil
	}
	var out state.Outcome
	if err == nil {
		out, err = state.Skip(w.kv, at, op)
	}
	if err != nil {
		return out, w.bad(at, rec, fmt.Errorf("it was given up, yet: %w", err))
	}
	w.log.Warn("an operation was given up; the accounts it names are frozen", "lsn", at)
	return out, nil
}

func (w *work) bad(at cluster.LSN, rec journal.Record, err error) error {
	if !errors.Is(err, errOperation) {
		err = fmt.Errorf("%w: %w", errOperation, err)
	}
	return newBad(at, rec, err)
}

// proposal returns the proposal whose operation is at lsn, nil when it is not ours.
func (w *work) proposal(at cluster.LSN) *proposal {
	for len(w.waiting) > 0 && w.waiting[0].at <= at {
		p := w.waiting[0]
		w.waiting = w.waiting[1:]
		if p.at == at {
			return p
		}
	}
	return nil
}
