package slot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/state"
)

// Collection: what nothing refers to any more is given up by copying the rest of a
// pack into a new one.
const (
	collectFirst = 10 * time.Minute // after an open: there is more to do then
	collectEvery = time.Hour
	// collectShare: a pack is rewritten when that part of it is dead. A half would
	// halve the copying and cost half as much space again.
	collectShare = 3
	// collectAtOnce is how much is to be kept of the packs that one rewrite takes:
	// enough for a pack of full size.
	collectAtOnce = 256 << 20
)

// turn reports whether a copy may collect now. The copies of a store take turns, day
// by day in UTC, in the order of the store's record, so that never more than one gives
// up octets that it has just copied; the first and the last hour of a day are nobody's,
// since clocks differ. Roles would not do: a master that stays one would never
// collect. A copy that was added or taken away today may shift the turns once.
func turn(rec *cluster.StoreRecord, id cluster.SlotID, now time.Time) bool {
	i := slices.IndexFunc(rec.Slots, func(r cluster.SlotRef) bool { return r.Slot == id })
	if i < 0 {
		return false
	}
	now = now.UTC()
	day := now.Unix() / (24 * 60 * 60)
	return now.Hour() > 0 && now.Hour() < 23 && int(day%int64(len(rec.Slots))) == i
}

// use is how much of a pack is alive, in octets.
type use struct {
	pack  pack.Pack
	alive int64
}

func (u use) dead() int64 { return max(0, u.pack.Stored-u.alive) }

// uses counts what is alive in each pack, those with most that is dead first.
func uses(r state.Reader, packs []pack.Pack) ([]use, error) {
	alive := map[pack.ID]int64{}
	for b, err := range state.Locations(r, 0, 0) {
		if err != nil {
			return nil, fmt.Errorf("count what packs hold: %w", err)
		}
		if b.InPack() {
			alive[pack.ID(b.Pack.ID)] += b.Pack.Size
		}
	}
	list := make([]use, 0, len(packs))
	for _, p := range packs {
		list = append(list, use{p, alive[p.ID]})
	}
	slices.SortFunc(list, func(a, b use) int { return cmp.Or(cmp.Compare(b.dead(), a.dead()), cmp.Compare(a.pack.ID, b.pack.ID)) })
	return list, nil
}

// collection chooses packs that are worth it: empty ones are only removed. Those in
// damaged wait for their repair.
func collection(list []use, damaged map[pack.ID]bool) (empty, rewrite []pack.ID) {
	alive := int64(0)
	for _, u := range list {
		switch {
		case u.alive == 0:
			empty = append(empty, u.pack.ID)
		case damaged[u.pack.ID] || u.dead()*collectShare < u.pack.Stored:
		case alive == 0 || alive+u.alive <= collectAtOnce:
			rewrite = append(rewrite, u.pack.ID)
			alive += u.alive
		}
	}
	return empty, rewrite
}

var errNotOurTurn = errors.New("another copy's turn to collect")

func (m *mover) ourTurn() bool {
	rec := m.Status().Record
	return m.cfg.Hurry.AnyTurn || turn(&rec, m.cfg.Slot, m.cfg.Now())
}

// collectSome collects until nothing is worth it, while it is this copy's turn.
func (m *mover) collectSome(ctx context.Context) error {
	for m.ourTurn() {
		more, err := m.collectOnce(ctx)
		if errors.Is(err, errNotOurTurn) {
			return nil
		}
		if err != nil || !more {
			return err
		}
	}
	return nil
}

func (m *mover) collectOnce(ctx context.Context) (more bool, err error) {
	snap, err := m.snapshot()
	if err != nil {
		return false, err
	}
	defer snap.release()
	list, err := uses(snap, m.packs.Packs())
	if err != nil {
		return false, err
	}
	empty, rewrite := collection(list, m.damagedPacks())
	if err := m.remove(ctx, snap, empty); err != nil || len(rewrite) == 0 {
		return false, err
	}
	return m.rewrite(ctx, snap, rewrite)
}

// remove gives up packs without anything alive.
func (m *mover) remove(ctx context.Context, snap *snapshot, empty []pack.ID) error {
	if len(empty) == 0 {
		return nil
	}
	for _, id := range empty {
		if err := m.dispensable(snap, id); err != nil {
			return err
		}
	}
	if _, err := m.flusher.durable(ctx); err != nil {
		return err
	}
	m.counts.collected.Add(int64(len(empty)))
	return m.packs.Retire(empty...)
}

// dispensable refuses to give up a pack that no location names while a message needs
// one of its bodies and has it nowhere else: an index that was made anew without its
// locations must not cost the mail.
func (m *mover) dispensable(r state.Reader, id pack.ID) error {
	for s, err := range m.packs.Entries(id) {
		if errors.Is(err, cluster.ErrDamaged) {
			continue
		} else if err != nil {
			return err
		}
		_, wanted, err := state.ReadBody(r, s.Body)
		if err != nil {
			return err
		}
		at, ok, err := state.ReadLocation(r, s.Body)
		if err != nil {
			return err
		}
		if here := ok && (at.InPack() || cluster.LSN(s.Body) >= m.journal.Low().LSN); wanted && !here {
			return fmt.Errorf("pack %v has body %d, which is nowhere else: the index lacks its location: %w", id, s.Body, cluster.ErrDamaged)
		}
	}
	return nil
}

func (m *mover) damagedPacks() map[pack.ID]bool {
	ids := map[pack.ID]bool{}
	for _, d := range m.damaged.list() {
		if id, ok := pack.ParseName(d.Pack + ".pack"); ok && d.Body != 0 {
			ids[id] = true
		}
	}
	return ids
}

// rewrite copies what snap refers to out of packs and retires them. It may go on
// after it if it gave up at least one.
func (m *mover) rewrite(ctx context.Context, snap *snapshot, ids []pack.ID) (more bool, err error) {
	res, err := m.packs.Rewrite(ctx, pack.Rewrite{
		Packs: ids,
		Keep: func(s pack.Stored) (bool, error) {
			at, ok, err := state.ReadLocation(snap, s.Body)
			return ok && at.InPack() && packLocation(at.Pack) == s.Location, err
		},
		Publish: func(p pack.Pack) error { return m.publishPack(ctx, p, ids) },
		Limit:   m.pace.take,
	})
	m.counts.collected.Add(int64(len(res.Retired)))
	for _, why := range res.Damaged {
		m.noteDamage(why)
	}
	return len(res.Retired) > 0, err
}

// publishPack has the index say durably that the bodies of a new pack are there and
// not in old any more.
func (m *mover) publishPack(ctx context.Context, p pack.Pack, old []pack.ID) error {
	if !m.ourTurn() {
		return errNotOurTurn
	}
	r := &relocations{from: func(at state.Location) bool {
		return at.InPack() && slices.Contains(old, pack.ID(at.Pack.ID))
	}}
	for s, err := range m.packs.Entries(p.ID) {
		if err != nil {
			return err
		}
		r.list = append(r.list, relocationTo(s.Body, s.Location))
	}
	if err := m.applier.relocate(ctx, r); err != nil {
		return err
	}
	_, err := m.flusher.durable(ctx)
	return err
}

// noteDamage notes what is lost with a *pack.Damage.
func (inc *incarnation) noteDamage(why error) {
	var d *pack.Damage
	if errors.As(why, &d) {
		inc.noteBody(d.Body, d.Pack.String(), d.Why)
	}
}

// noteBody notes that a body cannot be given from where it is: a pack, or the journal.
func (inc *incarnation) noteBody(id mail.BodyID, pack string, why error) {
	if inc.damaged.note(Damaged{Body: id, Pack: pack, Why: why.Error()}) {
		inc.log.Error("a stored body is damaged; it is fetched from another copy", "lsn", id, "pack", pack, "err", why)
	}
}
