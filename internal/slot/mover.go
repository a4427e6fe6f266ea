package slot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/state"
)

// mover takes bodies out of sealed segments of the journal into packs, and collects
// packs. It is the only one that writes packs, so a pack without any location that
// refers to it, as a kill leaves it, is nobody's.
//
// A body is first durable in a pack, then the index is told. What refers to it may go
// at any moment: then the pack has a dead body from the start.
type mover struct {
	*incarnation
	pace    *pace
	settled *atomic.Uint64

	lull    lull
	sealed  cluster.LSN          // the end of what was moved
	from    cluster.LSN          // nothing to be moved is below
	stuck   map[mail.BodyID]bool // damaged in the journal
	again   time.Duration        // not before: something failed
	collect time.Duration        // the next look at what is dead
	mend    time.Duration        // the next attempt to repair
}

const (
	// moveEvery is how often the mover looks whether a segment was sealed.
	moveEvery = time.Second
	// moveRate bounds reading the journal and writing packs, in octets a second and
	// slot: faster than mail arrives for long, slower than a disk.
	moveRate = 32 << 20
	// moveRetry is when it tries again after an error, such as a full disk.
	moveRetry = time.Minute
)

// Moving costs about 40 µs of processor time a body, on every copy, and nobody waits for
// it: it waits for a lull. A store that never rests is not let fall behind further than
// moveDebt; then it is done whatever comes, at moveRate.
const (
	// moveLull is how much the journal grows at most in moveEvery while it is quiet.
	moveLull = 256 << 10
	moveDebt = 8
)

// lull decides when to move.
type lull struct {
	end cluster.LSN // of the journal at the last look
}

// now reports whether to move what is sealed: debt octets of it.
func (l *lull) now(end cluster.LSN, debt, segment int64) bool {
	grown := end - min(end, l.end)
	l.end = end
	return debt > 0 && (grown < moveLull || debt >= moveDebt*segment)
}

func newMover(inc *incarnation) *mover {
	return &mover{
		incarnation: inc, pace: newPace(inc.cfg, moveRate), settled: &inc.settled,
		from: inc.journal.Low().LSN, stuck: map[mail.BodyID]bool{}, collect: inc.cfg.Clock() + cmp.Or(inc.cfg.Hurry.Collect, collectFirst),
	}
}

// run looks at each tick until ctx ends.
func (m *mover) run(ctx context.Context, ticks <-chan time.Time) {
	for {
		select {
		case <-ticks:
		case <-ctx.Done():
			return
		}
		if m.cfg.Clock() < m.again {
			continue
		}
		err := m.look(ctx)
		if err == nil {
			err = m.damaged.save(m.cfg.FS, m.cfg.Spool)
		}
		if err != nil && ctx.Err() == nil {
			m.again = m.cfg.Clock() + moveRetry
			if errors.Is(err, cluster.ErrFull) {
				m.relieve(m.cfg.spoolDisk())
			}
			m.log.Warn("bodies were not moved; they are where they were, it is tried again", "err", err)
		}
	}
}

// look does what there is to do.
func (m *mover) look(ctx context.Context) error {
	if err := m.recheck(); err != nil {
		return err
	}
	end := m.journal.End().LSN
	sealed := m.journal.Sealed(m.index.Applied().LSN)
	if m.lull.now(end, int64(sealed-min(sealed, m.sealed)), m.journal.SegmentSize()) {
		if err := m.moveSealed(ctx); err != nil {
			return err
		}
	}
	if err := m.trim(); err != nil {
		return fmt.Errorf("trim journal: %w", err)
	}
	if err := m.repair(ctx); err != nil {
		return fmt.Errorf("repair bodies: %w", err)
	}
	if m.cfg.Clock() < m.collect {
		return nil
	}
	if err := errors.Join(m.nowhere(), m.collectSome(ctx)); err != nil {
		return fmt.Errorf("collect packs: %w", err)
	}
	m.collect = m.cfg.Clock() + cmp.Or(m.cfg.Hurry.Collect, collectEvery)
	if err := m.expireAside(); err != nil {
		return err
	}
	return m.review()
}

// moveSealed moves what the sealed segments have of which everything is applied.
func (m *mover) moveSealed(ctx context.Context) error {
	end := m.journal.Sealed(m.index.Applied().LSN)
	if end <= m.sealed {
		return nil
	}
	rest, err := m.moveAll(ctx, end)
	if err != nil {
		return fmt.Errorf("move bodies below %d: %w", end, err)
	}
	flushed, err := m.flusher.durable(ctx)
	if err != nil {
		return err
	}
	// What is below is in packs, durably, or dead, or a chunk whose operation is not
	// applied yet.
	m.settled.Store(uint64(min(rest, flushed)))
	m.sealed = end
	m.from = max(m.journal.Low().LSN, min(rest, end-min(end, m.cfg.reach())))
	return nil
}

// moveAll moves everything below end, load by load. rest is the lowest that stays.
func (m *mover) moveAll(ctx context.Context, end cluster.LSN) (rest cluster.LSN, err error) {
	for {
		n, rest, err := m.moveLoad(ctx, end)
		if n == 0 || err != nil {
			return rest, err
		}
	}
}

// moveLoad moves one load of n bodies.
func (m *mover) moveLoad(ctx context.Context, end cluster.LSN) (n int, rest cluster.LSN, err error) {
	snap, err := m.snapshot()
	if err != nil {
		return 0, 0, err
	}
	defer snap.release()
	l, rest, err := newLoad(snap, m.from, end, m.stuck)
	if err != nil || len(l.cargo) == 0 {
		return 0, rest, err
	}
	if err := m.readOperations(ctx, l, snap.snap.Applied().LSN); err != nil {
		return 0, 0, err
	}
	l.cut(loadOwners)
	if err := l.find(snap); err != nil {
		return 0, 0, err
	}
	l.stow()
	return len(l.cargo), rest, m.write(ctx, snap, l.cargo)
}

// readOperations reads the journal from where the load's bodies begin until it has
// seen the operation of each, and shows them to it. What is damaged is passed over:
// then the pack does not say whose the bodies are.
func (m *mover) readOperations(ctx context.Context, l *load, applied cluster.LSN) error {
	at, _, err := m.journal.Bounds(cluster.LSN(l.cargo[0].Body))
	for err == nil && at < applied && (l.open > 0 || at <= l.end()) {
		if at, err = m.readBatches(ctx, l, at, applied); err != nil && errors.Is(err, cluster.ErrDamaged) {
			_, at, err = m.journal.Bounds(at)
		}
	}
	if errors.Is(err, cluster.ErrDamaged) {
		return nil // a header that says where the next batch is
	}
	return err
}

// readBatches reads some batches, and returns where it stopped.
func (m *mover) readBatches(ctx context.Context, l *load, at, applied cluster.LSN) (cluster.LSN, error) {
	for b, err := range m.journal.Batches(at, 0) {
		if err == nil {
			err = m.pace.take(ctx, len(b.Raw))
		}
		if err != nil {
			return at, err
		}
		l.batch(b)
		if at = b.End; at >= applied || l.open == 0 && at > l.end() {
			break
		}
	}
	return at, nil
}

// write puts cargo into packs and tells the index.
func (m *mover) write(ctx context.Context, snap *snapshot, list []*cargo) error {
	for len(list) > 0 {
		w, err := m.packs.Create()
		if err != nil {
			return err
		}
		n, done, err := m.fill(ctx, snap, w, list)
		if err != nil || len(done) == 0 {
			err = errors.Join(err, w.Abort())
		} else if _, err = w.Seal(); err == nil {
			err = m.tell(ctx, &relocations{list: done, from: inJournal})
		}
		if err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// tell has the index note new places and counts.
func (m *mover) tell(ctx context.Context, r *relocations) error {
	n := len(r.list)
	if err := m.applier.relocate(ctx, r); err != nil {
		return err
	}
	m.counts.moved.Add(int64(n))
	m.counts.dead.Add(int64(n - r.moved))
	return nil
}

// fill adds cargo to a pack until it is full or there is no more: n of the list.
func (m *mover) fill(ctx context.Context, snap *snapshot, w *pack.Writer, list []*cargo) (n int, done []relocation, err error) {
	for _, c := range list {
		if w.Full() {
			break
		}
		n++
		ok, err := c.describe(snap)
		if err == nil {
			err = m.pace.take(ctx, int(min(c.Length, 1<<30)))
		}
		if err != nil {
			return n, nil, err
		}
		if !ok {
			continue
		}
		at, err := w.Add(c.Entry, m.octets(c.at))
		switch {
		case err == nil:
			done = append(done, relocationTo(c.Body, at))
		case w.Err() != nil:
			return n, nil, w.Err()
		case errors.Is(err, pack.ErrContent), errors.Is(err, cluster.ErrDamaged):
			m.stuck[c.Body] = true
			m.noteBody(c.Body, "", err)
		default:
			return n, nil, err
		}
	}
	return n, done, nil
}

// octets reads a body from the journal, in steps of the reader's.
func (m *mover) octets(at state.Location) io.Reader {
	c := at.Chunked(func(p state.Placed) io.ReaderAt { return &chunkReader{m.journal, p.LSN} })
	return io.NewSectionReader(c, 0, c.Size())
}
