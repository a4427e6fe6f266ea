package slot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/replica"
)

// openData opens index and journal and checks them against each other.
func (inc *incarnation) openData(memory adopted) (journal.Recovery, error) {
	dir := inc.cfg.FS.PathJoin(inc.cfg.Meta, "index")
	member := memory.Record != nil && memory.Record.IsInSync(inc.cfg.Slot)
	var recovery journal.Recovery
	err := fmt.Errorf("%w: it failed when it was read", errIndex)
	if !inc.spoilt {
		recovery, err = inc.tryOpen(dir, member)
	}
	if err == nil || !errors.Is(err, errIndex) {
		return recovery, err
	}
	// The index is only a cache of a snapshot, if there is one, and of the journal.
	inc.log.Warn("index cannot be used, or does not match the journal; it is rebuilt", "err", err)
	aside := dir + ".bad"
	if err := inc.cfg.FS.RemoveAll(aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return recovery, fmt.Errorf("remove old index: %w", err)
	}
	if err := inc.cfg.FS.Rename(dir, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return recovery, fmt.Errorf("set index aside: %w", err)
	}
	inc.spoilt = false
	return inc.tryOpen(dir, member)
}

// errIndex: the index cannot be used, the journal may be fine.
var errIndex = errors.New("index unusable")

func (inc *incarnation) tryOpen(dir string, member bool) (journal.Recovery, error) {
	db, err := inc.openIndex(dir)
	if errors.Is(err, cluster.ErrDamaged) || errors.Is(err, os.ErrNotExist) { // a table is missing
		err = fmt.Errorf("%w: %w", errIndex, err)
	}
	if err != nil {
		return journal.Recovery{}, err
	}
	reached, err := inc.reachedLevel(db)
	if err != nil {
		return journal.Recovery{}, errors.Join(err, db.Close())
	}
	applied := db.Applied()
	cfg := journalConfig(inc.cfg)
	cfg.VerifyFrom, cfg.Applied, cfg.Member = applied.LSN, applied.LSN, member
	j, recovery, err := journal.Open(cfg)
	if err != nil {
		return recovery, errors.Join(err, db.Close())
	}
	err = recovery.Damage
	if err == nil && applied.LSN == 0 && recovery.End.LSN > 0 { // the index is lost
		if db, err = inc.restore(dir, db, j); err != nil {
			return recovery, errors.Join(err, j.Close())
		}
	}
	if err == nil {
		err = verifyApplied(j, db.Applied())
	}
	if err == nil {
		err = verifySkips(db, inc.skips)
	}
	if err != nil {
		return recovery, errors.Join(err, db.Close(), j.Close())
	}
	inc.index, inc.journal, inc.reached = db, j, reached
	return recovery, nil
}

func (inc *incarnation) openIndex(dir string) (*index.DB, error) {
	return index.Open(index.Config{FS: inc.cfg.FS, Dir: dir, Shared: inc.cfg.Shared, Log: inc.log, Fail: inc.indexFailed, NoPause: inc.cfg.Hurry.NoPause})
}

// verifyApplied: the index was made from this very history.
func verifyApplied(j *journal.Journal, applied cluster.Position) error {
	if applied.LSN == 0 {
		if low := j.Low().LSN; low != 0 {
			return fmt.Errorf("index is empty, no snapshot can be used, and the journal begins at %d: %w", low, cluster.ErrDamaged)
		}
		return nil
	}
	chain, err := j.ChainAt(applied.LSN)
	switch {
	case err != nil:
		return fmt.Errorf("%w: look up its position %d: %w", errIndex, applied.LSN, err)
	case chain != applied.Chain:
		return fmt.Errorf("%w: its history at %d is %v, the journal's %v", errIndex, applied.LSN, applied.Chain, chain)
	}
	return nil
}

func (inc *incarnation) indexFailed(err error) {
	select {
	case inc.failed <- err:
	default:
	}
}

// wire builds the parts that run beside the loop.
func (inc *incarnation) wire(memory adopted) {
	inc.keeper = newKeeper(inc.cfg, memory, inc.post)
	inc.sessions = newSessions(inc, inc.post)
	inc.syncer = &syncer{journal: inc.journal, post: inc.post, wake: make(chan struct{}, 1)}
	inc.turnEra()
	inc.flusher = newFlusher(inc.index)
	inc.saver = &saver{incarnation: inc, asks: make(chan chan<- error)}
	inc.applier = &applier{
		incarnation: inc, post: inc.post, replay: inc.replay, flusher: inc.flusher, reached: inc.reached, wake: make(chan struct{}, 1),
		moves: make(chan *relocations),
	}
}

// post hands the loop an event, waiting if it is behind; after its end nobody
// needs it.
func (inc *incarnation) post(e replica.Event) {
	select {
	case inc.events <- e:
	case <-inc.done:
	}
}

func (inc *incarnation) openedEvent(r journal.Recovery, memory adopted) replica.Opened {
	health := replica.Whole
	if inc.id.Seeding {
		health = replica.Seeding
	}
	e := replica.Opened{
		Incarnation: inc.number, Counter: inc.id.Opens, Health: health,
		Low: r.Low.LSN, End: r.End, Commit: r.Commit, Applied: inc.index.Applied().LSN,
		Adopted: memory.Epoch, Rev: memory.Rev, CoordRev: memory.CoordRev,
	}
	if memory.Record != nil {
		e.Record = *memory.Record
	}
	for _, s := range r.Epochs {
		e.Starts = append(e.Starts, replica.EpochStart{Epoch: s.Epoch, LSN: s.LSN, Chain: s.ChainBefore})
	}
	return e
}

// run starts every part, drives the loop, and waits until all have ended.
func (inc *incarnation) run(ctx context.Context, opened replica.Opened) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	start := func(f func()) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			f()
		}()
	}
	inc.sessionCtx = ctx
	start(func() { inc.syncer.run(ctx) })
	start(func() { inc.keeper.runFiles(ctx) })
	start(func() { inc.flusher.run(ctx) })
	start(func() { inc.prepareSegments(ctx) })
	every := func(period time.Duration, run func(context.Context, <-chan time.Time)) {
		start(func() {
			ticker := time.NewTicker(period)
			defer ticker.Stop()
			run(ctx, ticker.C)
		})
	}
	every(purgeEvery, (&purger{incarnation: inc}).run)
	every(cmp.Or(inc.cfg.Hurry.Move, moveEvery), newMover(inc).run)
	every(cmp.Or(inc.cfg.Hurry.Scrub, scrubLook), (&scrubber{incarnation: inc, pace: newPace(inc.cfg, scrubRate)}).run)
	every(cmp.Or(inc.cfg.Hurry.Save, saveLook), inc.saver.run)
	start(func() {
		switch err := inc.applier.run(ctx); {
		case errors.Is(err, errOperation):
			inc.broken <- err
		case err != nil && ctx.Err() == nil:
			cancel(err)
		}
	})
	start(func() {
		select {
		case err := <-inc.failed:
			cancel(fmt.Errorf("%w: %w", errIndexFailed, err))
		case <-inc.dropped:
			cancel(fmt.Errorf("%w: it was asked for", errSeed))
		case <-ctx.Done():
		}
	})
	inc.publish()
	err := inc.runLoop(ctx, opened)
	cancel(err)
	inc.unpublish()
	close(inc.done)
	inc.queue.shut(mail.ErrMoved)
	inc.pending.abandon()
	inc.sessions.shut()
	inc.keeper.wg.Wait()
	wg.Wait()
	return context.Cause(ctx)
}

// runLoop is where a panic of the protocol is recovered: it fails this slot alone.
func (inc *incarnation) runLoop(ctx context.Context, opened replica.Opened) (err error) {
	l := &loop{incarnation: inc, core: replica.New(replica.Config{
		Cluster: inc.cfg.Cluster, Store: inc.cfg.Store, Slot: inc.cfg.Slot, RefuseDegraded: inc.cfg.RefuseDegraded,
	})}
	defer func() {
		if p := recover(); p != nil {
			answerAll(l.taken, mail.ErrUnknown)
			err = fmt.Errorf("%w: protocol: %v\n%s", errFailed, p, debug.Stack())
		}
		l.handing.end(nil)
	}()
	return l.run(ctx, opened)
}

// publish makes the incarnation the slot's present one, and gives it the record
// that was seen while none was open.
func (inc *incarnation) publish() {
	inc.mu.Lock()
	inc.now = inc
	seen := inc.seen
	inc.mu.Unlock()
	if seen != nil {
		inc.recordSeen(seen.Record)
	}
}

// unpublish: from now on nobody new finds this incarnation, and no read begins.
func (inc *incarnation) unpublish() {
	inc.mu.Lock()
	inc.now = nil
	inc.mu.Unlock()
	inc.serving.set(func(s *serving) { s.epoch, s.until = 0, 0 })
	inc.watchers.NotifyAll()
	inc.setStatus(func(st *Status) {
		st.Role, st.State, st.Serving, st.Reaches, st.PendingOps = replica.RoleIdle.String(), StateOpening, false, nil, 0
	})
}

// recordSeen keeps the sessions that rec calls for and tells the loop to look at
// the newest sighting. It never waits.
func (inc *incarnation) recordSeen(rec cluster.StoreRecord) {
	inc.sessions.keep(inc.sessionCtx, rec)
	select {
	case inc.seenNews <- struct{}{}:
	default:
	}
}
