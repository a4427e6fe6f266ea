package slot

import (
	"context"
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
	core    *replica.Core
	news    bool // something happened that people wait to see
	taken   []*proposal
	records []journal.Record // scratch
	space   replica.Space    // last told to the protocol
	handing *handover
	told    string // the newest fact the protocol told

	company  company
	patience *time.Timer // fires when company need not be waited for any more

	held   bool          // writes are
	heldAt time.Duration // since then
}

// run steps the Core until ctx ends or the incarnation does.
func (l *loop) run(ctx context.Context, opened replica.Opened) error {
	tick := time.NewTicker(replica.TickEvery)
	defer tick.Stop()
	l.patience = time.NewTimer(0)
	defer l.patience.Stop()
	if err := l.step(ctx, opened); err != nil {
		return err
	}
	l.noteStatus()
	for {
		var err error
		select {
		case e := <-l.events:
			err = l.step(ctx, e)
		case <-l.queue.wake:
		case <-l.patience.C:
		case <-tick.C:
			err = l.tick(ctx)
		case <-l.seenNews:
			err = l.step(ctx, l.Slot.lastSeen())
		case h := <-l.handovers:
			err = l.handOver(ctx, h)
		case broken := <-l.broken:
			err = l.breakDown(broken)
		case <-ctx.Done():
			return ctx.Err()
		}
		if err == nil {
			err = l.gather(ctx)
		}
		if err != nil {
			return err
		}
		if l.news {
			l.news = false
			l.noteStatus()
		}
	}
}

// tick is what time alone calls for.
func (l *loop) tick(ctx context.Context) error {
	l.queue.tick(maxHeld)
	l.recent.forget(min(l.index.Applied().LSN, l.sessions.needs()))
	if level := l.spaceLevel(); level != l.space {
		l.space = level
		if err := l.step(ctx, replica.SpaceLevel{Level: level}); err != nil {
			return err
		}
	}
	l.news = true
	if err := l.step(ctx, replica.Applied{LSN: cluster.LSN(l.applier.at.Load())}); err != nil {
		return err
	}
	err := l.step(ctx, replica.Tick{})
	l.full.Store(l.core.Space() >= replica.Refusing)
	return err
}

// step takes one event and whatever events its effects answer at once: answers of
// ordered effects come before any other event.
func (l *loop) step(ctx context.Context, e replica.Event) error {
	answers, err := l.stepOne(ctx, e)
	for err == nil && len(answers) > 0 {
		var more []replica.Event
		more, err = l.stepOne(ctx, answers[0])
		answers = append(more, answers[1:]...)
	}
	return err
}

func (l *loop) stepOne(ctx context.Context, e replica.Event) (answers []replica.Event, err error) {
	now := l.cfg.Clock()
	effects := l.core.Step(now, e)
	l.commit.Store(uint64(l.core.Commit()))
	l.applier.eager.Store(l.core.AwaitsApplied())
	if l.company.flying && l.core.InFlight() == 0 {
		waiting, _ := l.queue.waits()
		l.company.landed(now, waiting)
	}
	for _, f := range effects {
		answer, err := l.do(ctx, f)
		if err != nil {
			return nil, err
		}
		if answer != nil {
			answers = append(answers, answer)
		}
	}
	return answers, nil
}

// gather appends what waits, one batch at a time, while the protocol lets it.
func (l *loop) gather(ctx context.Context) error {
	for l.fault.Load() == nil {
		n, octets := l.queue.waits()
		if n == 0 {
			return nil
		}
		now := l.cfg.Clock()
		switch err := l.core.CanAppend(now); {
		case errors.Is(err, replica.ErrDegraded):
			l.queue.refuse(mail.ErrBusy)
			return nil
		case err != nil:
			return nil
		}
		if octets < batchWorth {
			if l.core.InFlight() > 0 {
				return nil
			}
			if wait := l.company.wait(now, n); wait > 0 {
				l.patience.Reset(wait)
				return nil
			}
		}
		l.taken = l.current(l.queue.take(l.taken[:0], batchTarget))
		if len(l.taken) == 0 {
			continue
		}
		if err := l.appendBatch(ctx, l.taken); err != nil {
			return err
		}
		clear(l.taken)
		l.taken = l.taken[:0]
	}
	return nil
}

// current turns away proposals whose chunks were placed under another epoch, for they
// may have been cut off meanwhile, or too long before, for the journal may be trimmed
// to trimReach behind an operation.
func (l *loop) current(batch []*proposal) []*proposal {
	kept := batch[:0]
	for _, p := range batch {
		far := p.ahead != 0 && l.journal.End().LSN+journal.MaxBatch > p.ahead+l.cfg.reach()
		if far || p.under != 0 && p.under != l.core.Epoch() {
			p.finish(outcome{err: mail.ErrBusy})
			continue
		}
		kept = append(kept, p)
	}
	return kept
}

func (l *loop) appendBatch(ctx context.Context, batch []*proposal) error {
	l.records = l.records[:0]
	for _, p := range batch {
		l.records = append(l.records, p.records...)
	}
	b, err := l.journal.Append(journal.Head{Epoch: l.core.Epoch(), Commit: l.core.Commit()}, l.records)
	clear(l.records)
	switch {
	case errors.Is(err, cluster.ErrFull): // nothing was written
		l.cramped.Store(true)
		answerAll(batch, mail.ErrFull)
		return nil
	case err != nil:
		answerAll(batch, mail.ErrUnknown)
		return l.step(ctx, replica.DiskFailed{Reason: err.Error()})
	}
	l.counts.batches.Add(1)
	l.company.left(l.cfg.Clock(), len(batch))
	l.pending.add(b, batch)
	l.recent.add(b)
	return l.step(ctx, replica.Appended{Base: b.Base, End: b.Position()})
}

func answerAll(batch []*proposal, err error) {
	for _, p := range batch {
		p.finish(outcome{err: err})
	}
}

// breakDown: an operation cannot be applied. Another copy may do better, and if
// this one is the serving master it goes on to show what it has; writes end.
func (l *loop) breakDown(reason error) error {
	l.log.Error("an operation cannot be applied; this slot takes no writes", "err", withStack(reason))
	reason = fmt.Errorf("%w: %w", errFailed, reason)
	if l.serving.master() == 0 {
		return reason
	}
	l.fault.Store(&reason)
	l.news = true
	l.queue.shut(mail.ErrBusy)
	l.pending.abandon()
	return nil
}
