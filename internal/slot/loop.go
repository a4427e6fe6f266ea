package slot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/replica"
)

// maxEvents bounds what the asynchronous parts have reported and the loop has
// not taken yet; they wait beyond it.
const maxEvents = 256

// errEnded ends an incarnation; the slot opens again as a new one.
var errEnded = errors.New("incarnation ended")

// errFailed takes the slot out of use until a person or a reseed acts.
var errFailed = errors.New("slot failed")

// loop drives the protocol of one incarnation. Only run's goroutine touches it.
type loop struct {
	*incarnation
	core *replica.Core
	news bool // something happened that people wait to see
}

// run steps the Core until ctx ends or the incarnation does.
func (l *loop) run(ctx context.Context, opened replica.Opened) error {
	tick := time.NewTicker(replica.TickEvery)
	defer tick.Stop()
	if err := l.step(ctx, opened); err != nil {
		return err
	}
	for {
		var err error
		select {
		case e := <-l.events:
			err = l.step(ctx, e)
		case <-l.queue.wake:
		case <-tick.C:
			err = l.step(ctx, replica.Tick{})
		case <-ctx.Done():
			return ctx.Err()
		}
		if err == nil {
			err = l.gather(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// step takes one event and whatever events its effects answer at once.
func (l *loop) step(ctx context.Context, e replica.Event) error {
	for pending := []replica.Event{e}; len(pending) > 0; {
		effects := l.core.Step(l.cfg.Clock(), pending[0])
		l.commit.Store(uint64(l.core.Commit()))
		pending = pending[1:]
		answers, err := l.carryOut(ctx, effects)
		if err != nil {
			return err
		}
		// Answers of ordered effects come before any other event.
		pending = append(answers, pending...)
	}
	if _, ok := e.(replica.Tick); ok || l.news {
		l.news = false
		l.noteStatus()
	}
	return nil
}

// gather appends what waits, one batch at a time, while the protocol lets it.
func (l *loop) gather(ctx context.Context) error {
	for !l.queue.empty() && l.core.CanAppend(l.cfg.Clock()) == nil {
		batch := l.queue.take(batchTarget)
		if len(batch) == 0 {
			return nil
		}
		if err := l.appendBatch(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

func (l *loop) appendBatch(ctx context.Context, batch []*proposal) error {
	l.records = l.records[:0]
	for _, p := range batch {
		l.records = append(l.records, p.records...)
	}
	b, err := l.journal.Append(journal.Head{Epoch: l.core.Epoch(), Commit: l.core.Commit()}, l.records)
	if err != nil {
		for _, p := range batch {
			p.finish(outcome{err: mail.ErrUnknown})
		}
		return l.step(ctx, replica.DiskFailed{Reason: err.Error()})
	}
	l.pending.add(b, batch)
	return l.appended(ctx, b)
}

// appended tells the protocol and the streams of a batch that is in the journal.
func (l *loop) appended(ctx context.Context, b journal.Batch) error {
	l.recent.add(b)
	return l.step(ctx, replica.Appended{Base: b.Base, End: b.Position()})
}

// carryOut does the effects in their order and returns the answers of those that
// are done inline.
func (l *loop) carryOut(ctx context.Context, effects []replica.Effect) ([]replica.Event, error) {
	var answers []replica.Event
	for _, e := range effects {
		answer, err := l.do(ctx, e)
		if err != nil {
			return nil, err
		}
		if answer != nil {
			answers = append(answers, answer)
		}
	}
	return answers, nil
}

// do carries out one effect.
func (l *loop) do(ctx context.Context, e replica.Effect) (replica.Event, error) {
	switch e := e.(type) {
	case replica.AppendRaw:
		return l.appendRaw(e), nil
	case replica.AppendRecord:
		return l.appendRecord(e), nil
	case replica.Truncate:
		return l.truncate(e), nil
	case replica.Sync:
		l.syncer.start()
	case replica.ApplyTo:
		l.applier.applyTo(e.LSN)
	case replica.AdoptEpoch:
		l.news = true
		l.keeper.adopt(e)
	case replica.KeepRecord:
		l.news = true
		l.keeper.keep(e)
	case replica.KeepCounter:
		l.keeper.keepCounter(ctx, e.Counter, l.id)
	case replica.ProposeRecord:
		l.keeper.propose(ctx, e)
	case replica.ReadRecord:
		l.keeper.read(ctx, e)
	case replica.AskController:
		l.keeper.ask(ctx, e)
	case replica.Send, replica.CloseSession, replica.Locate, replica.StartStream, replica.StreamAcked, replica.StopStream:
		l.sessions.do(e)
	case replica.Serve:
		l.serve(e.Epoch)
	case replica.ReadLease:
		l.serving.set(func(s *serving) { s.until = e.Until })
	case replica.Hold:
		l.log.Info("writes held", "reason", e.Reason)
	case replica.StopServing:
		l.stopServing(e.Reason)
	case replica.EndIncarnation:
		return nil, fmt.Errorf("%w: %s", errEnded, e.Reason)
	case replica.FailSlot:
		return nil, fmt.Errorf("%w: %v", errFailed, e.Problem)
	case replica.Freeze:
		l.problem = &e.Problem
		l.log.Error("frozen: the coordinator contradicts this slot", "reason", e.Problem.String())
	case replica.Thaw:
		l.problem = nil
		l.log.Info("thawed")
	case replica.Told:
		l.log.Info("protocol", "fact", e.Text)
	default:
		return nil, fmt.Errorf("%w: effect %T is not known", errFailed, e)
	}
	return nil, nil
}

// appendRaw appends the master's octets.
func (l *loop) appendRaw(e replica.AppendRaw) replica.Event {
	b, err := l.journal.AppendRaw(e.Raw)
	switch {
	case errors.Is(err, journal.ErrMismatch):
		return replica.AppendRefused{Reason: err.Error()}
	case err != nil:
		return replica.DiskFailed{Reason: err.Error()}
	}
	l.recent.add(b)
	return replica.Appended{Base: b.Base, End: b.Position()}
}

// appendRecord notes a change of epoch, master or set in the journal.
func (l *loop) appendRecord(e replica.AppendRecord) replica.Event {
	var recs []journal.Record
	if e.Start {
		recs = append(recs, journal.Record{Kind: journal.KindEpochStart, Payload: binary.BigEndian.AppendUint64(nil, uint64(e.Epoch))})
		if e.Record.Forced {
			op, err := l.forkOperation()
			if err != nil {
				return replica.DiskFailed{Reason: err.Error()}
			}
			recs = append(recs, op)
		}
	}
	recs = append(recs, journal.Record{Kind: journal.KindStoreRecord, Payload: e.Record.Encode()})
	b, err := l.journal.Append(journal.Head{Epoch: e.Epoch, Commit: l.core.Commit()}, recs)
	if err != nil {
		return replica.DiskFailed{Reason: err.Error()}
	}
	l.recent.add(b)
	return replica.Appended{Base: b.Base, End: b.Position()}
}

func (l *loop) truncate(e replica.Truncate) replica.Event {
	l.log.Warn("cutting a tail that was never acknowledged", "lsn", e.To)
	l.recent.cut(e.To)
	if err := l.journal.TruncateTo(e.To); err != nil {
		return replica.DiskFailed{Reason: err.Error()}
	}
	return replica.Truncated{End: l.journal.End()}
}

func (l *loop) serve(epoch cluster.Epoch) {
	if l.serving.master() != epoch {
		l.log.Info("serving as master", "epoch", epoch)
	}
	l.news = true
	l.queue.shut(nil)
	l.serving.set(func(s *serving) { s.epoch = epoch })
}

// stopServing: what waits did not happen; what was appended may have.
func (l *loop) stopServing(reason string) {
	l.news = true
	l.log.Info("no longer master", "reason", reason)
	l.serving.set(func(s *serving) { s.epoch, s.until = 0, 0 })
	l.queue.shut(mail.ErrMoved)
	l.pending.abandon()
}
