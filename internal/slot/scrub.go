package slot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/state"
)

// The scrub reads the journal and all packs again once in a while, since a disk tells
// of what it has lost only when asked.
const (
	scrubEvery = 7 * 24 * time.Hour
	// scrubRate is in octets a second and slot: 1.2 TB a week, and 40 MiB/s of a
	// machine with 20 slots at most.
	scrubRate = 2 << 20
	// scrubLook is how often it is looked whether one is due.
	scrubLook = time.Minute
)

// scrubber reads the journal, then packs, one after the other. It goes on after a restart where it was.
type scrubber struct {
	*incarnation
	pace *pace
}

// run looks at each tick until ctx ends.
func (s *scrubber) run(ctx context.Context, ticks <-chan time.Time) {
	for {
		select {
		case <-ticks:
		case <-ctx.Done():
			return
		}
		if err := s.look(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("packs were not scrubbed; it is tried again", "err", err)
		}
	}
}

// look scrubs if it is time. A slot begins somewhere in a week that it has not seen,
// so that those of a machine do not all begin at once.
func (s *scrubber) look(ctx context.Context) error {
	now := s.cfg.Now()
	scrubbed, next := s.damaged.scrub()
	if scrubbed.IsZero() {
		scrubbed = now.Add(-scrubEvery * time.Duration(s.cfg.Slot[0]) / 256)
		s.damaged.setScrub(scrubbed, "")
	}
	if now.Sub(scrubbed) < cmp.Or(s.cfg.Hurry.Scrub, scrubEvery) {
		return nil
	}
	from, going := pack.ParseName(next + ".pack")
	if !going {
		if err := s.scrubJournal(ctx); err != nil {
			return err
		}
	}
	if err := s.scrub(ctx, from); err != nil {
		return err
	}
	s.damaged.setScrub(now, "")
	return nil
}

// scrub reads the packs from one on.
func (s *scrubber) scrub(ctx context.Context, from pack.ID) error {
	last := pack.ID(0)
	for x, err := range s.packs.Scrub(ctx, from, s.pace.take) {
		if x.Pack != last {
			last = x.Pack
			scrubbed, _ := s.damaged.scrub()
			s.damaged.setScrub(scrubbed, last.String())
		}
		var d *pack.Damage
		switch {
		case err == nil:
			s.counts.scrubbed.Add(x.Size)
		case errors.As(err, &d):
			if err := s.lost(d); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return ctx.Err()
}

// scrubJournal reads what the journal has now.
func (s *scrubber) scrubJournal(ctx context.Context) error {
	s.damaged.forgetJournal()
	for at, end := s.journal.Low().LSN, s.journal.Durable(); at < end; {
		next, err := s.scrubBatches(ctx, at, end)
		switch {
		case errors.Is(err, journal.ErrTrimmed):
			next = max(at, s.journal.Low().LSN)
		case errors.Is(err, cluster.ErrDamaged):
			next, err = s.lostBatch(next, err)
			if err != nil {
				return err
			}
		case err != nil:
			return err
		}
		at = next
	}
	return ctx.Err()
}

// scrubBatches reads batches from at on, and returns where it stopped.
func (s *scrubber) scrubBatches(ctx context.Context, at, end cluster.LSN) (cluster.LSN, error) {
	for b, err := range s.journal.Batches(at, 0) {
		if err == nil {
			err = s.pace.take(ctx, len(b.Raw))
		}
		if err != nil {
			return at, err
		}
		s.counts.scrubbed.Add(int64(len(b.Raw)))
		if at = b.End; at >= end {
			break
		}
	}
	return at, nil
}

// lostBatch notes that the batch at lsn is damaged, with the bodies that are nowhere
// else, and returns where the next one begins. Where no header says that, it is where
// the scrub ends.
func (s *scrubber) lostBatch(lsn cluster.LSN, why error) (next cluster.LSN, err error) {
	if s.damaged.note(Damaged{Why: why.Error()}) {
		s.log.Error("octets of the journal are damaged; another copy has them", "lsn", lsn, "err", why)
	}
	_, next, err = s.journal.Bounds(lsn)
	if errors.Is(err, cluster.ErrDamaged) {
		return s.journal.End().LSN, nil
	} else if err != nil {
		return 0, err
	}
	snap, err := s.snapshot()
	if err != nil {
		return 0, err
	}
	defer snap.release()
	for b, err := range state.Locations(snap, mail.BodyID(lsn), mail.BodyID(next)) {
		if err != nil {
			return 0, fmt.Errorf("look for what is damaged: %w", err)
		}
		if !b.InPack() {
			s.noteBody(b.Body, "", why)
		}
	}
	return next, nil
}

// lost notes which bodies that something refers to are lost with d.
func (s *scrubber) lost(d *pack.Damage) error {
	snap, err := s.snapshot()
	if err != nil {
		return err
	}
	defer snap.release()
	bodies, err := within(snap, d)
	if err != nil {
		return err
	}
	for _, id := range bodies {
		s.noteDamage(&pack.Damage{Pack: d.Pack, Body: id, Offset: d.Offset, Size: d.Size, Why: d.Why})
	}
	there := slices.ContainsFunc(s.packs.Packs(), func(p pack.Pack) bool { return p.ID == d.Pack })
	if len(bodies) == 0 && d.Body == 0 && there {
		s.noteDamage(d)
	}
	return nil
}

// within returns the bodies that snap places where d is.
func within(r state.Reader, d *pack.Damage) (ids []mail.BodyID, err error) {
	if d.Body != 0 {
		at, ok, err := state.ReadLocation(r, d.Body)
		if ok && pack.ID(at.Pack.ID) == d.Pack && at.Pack.Offset == d.Offset {
			ids = append(ids, d.Body)
		}
		return ids, err
	}
	for b, err := range state.Locations(r, 0, 0) {
		if err != nil {
			return nil, fmt.Errorf("look for what is damaged: %w", err)
		}
		if pack.ID(b.Pack.ID) == d.Pack && b.Pack.Offset < d.Offset+d.Size && d.Offset < b.Pack.Offset+b.Pack.Size {
			ids = append(ids, b.Body)
		}
	}
	return ids, nil
}
