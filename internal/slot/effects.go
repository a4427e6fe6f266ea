package slot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/replica"
)

// do carries out one effect. The answer is nil unless it is done inline.
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
		return nil, l.heedSkips(&e.Record)
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
		l.hold(e.Reason)
	case replica.StopServing:
		return nil, l.stopServing(e.Reason)
	case replica.EndIncarnation:
		return nil, fmt.Errorf("%w: %s", errEnded, e.Reason)
	case replica.FailSlot:
		return nil, l.unusable(e.Problem)
	case replica.Freeze:
		l.news, l.problem = true, &e.Problem
		l.log.Error("frozen: the coordinator contradicts this slot", "reason", e.Problem.String())
	case replica.Thaw:
		l.news, l.problem = true, nil
		l.log.Info("thawed")
	case replica.Told:
		l.told = e.Text
		l.log.Info("protocol", "fact", e.Text)
	default:
		return nil, fmt.Errorf("%w: effect %T is not known", errFailed, e)
	}
	return nil, nil
}

// errLeft: a forced failover left this slot's history. What it has more than the one
// that went on is read from its files, and an empty slot takes its place.
var errLeft = errors.New("a forced failover left its history")

func (l *loop) unusable(p replica.Problem) error {
	st := l.core.State()
	switch _, left := cluster.Left(st.Record.Forks, st.End.Epoch); {
	case left:
		return fmt.Errorf("%w: %v: %w", errFailed, p, errLeft)
	case p.Code == replica.NeedsReseed, p.Code == replica.DamagedJournal:
		return fmt.Errorf("%w: %v", errSeed, p)
	}
	return fmt.Errorf("%w: %v", errFailed, p)
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
		if e.Record.Forced != 0 {
			op, err := l.forkOperation(len(e.Record.Forks))
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

// serve: this slot is the master, or is again after a Hold.
func (l *loop) serve(epoch cluster.Epoch) {
	if l.serving.master() != epoch {
		l.log.Info("serving as master", "epoch", epoch)
		l.counts.promotions.Add(1)
	}
	l.endHold()
	l.news = true
	if l.fault.Load() == nil {
		l.queue.open()
	}
	l.serving.set(func(s *serving) { s.epoch, s.since = epoch, s.clock() })
	l.handing.end(errHandoverGivenUp)
	l.handing = nil
}

func (l *loop) hold(reason string) {
	l.news = true
	l.beginHold()
	l.log.Info("writes held", "reason", reason)
}

// stopServing: what waits did not happen; what was appended may have.
func (l *loop) stopServing(reason string) error {
	l.news = true
	l.log.Info("no longer master", "reason", reason)
	l.endHold()
	l.serving.set(func(s *serving) { s.epoch, s.until = 0, 0 })
	l.queue.shut(mail.ErrMoved)
	l.pending.abandon()
	l.handing.end(nil)
	l.handing = nil
	if fault := l.fault.Load(); fault != nil {
		return *fault // it was only kept for reading
	}
	return nil
}
