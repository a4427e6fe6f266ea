package slot

import (
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/state"
)

// holding is what a copy has: some packs, and its journal from low on.
type holding struct {
	packs map[pack.ID]bool
	low   cluster.LSN
}

func holdingOf(packs *pack.Set, low cluster.LSN) holding {
	h := holding{map[pack.ID]bool{}, low}
	for _, p := range packs.Packs() {
		h.packs[p.ID] = true
	}
	return h
}

// has reports whether a body may be where its location says. A pack is never
// changed, so an entry is there as long as the pack is.
func (h holding) has(b state.Located) bool {
	if b.InPack() {
		return h.packs[pack.ID(b.Pack.ID)]
	}
	return cluster.LSN(b.Body) >= h.low
}

// findBodies has the locations of an index name packs that are there, wherever they
// name what is not: those in a snapshot are as old as it is, and perhaps another
// copy's. What packs have of a body that no location names is not needed. A body that
// is nowhere keeps its location: the journal may say yet that it is gone.
func findBodies(db *index.DB, packs *pack.Set, low cluster.LSN) error {
	here := holdingOf(packs, low)
	kv := db.Cold()
	for _, p := range packs.Packs() {
		err := findIn(kv, packs, p.ID, here)
		if err == nil && kv.Len() > 0 {
			err = kv.Commit(db.Applied())
		}
		if err = errors.Join(err, kv.Close()); err != nil {
			return fmt.Errorf("find bodies in pack %v: %w", p.ID, err)
		}
		kv = db.Cold()
	}
	return kv.Close()
}

// findIn places what one pack has and nothing else does: 65,536 bodies at most.
func findIn(kv state.KV, packs *pack.Set, id pack.ID, here holding) error {
	for s, err := range packs.Entries(id) {
		if errors.Is(err, cluster.ErrDamaged) {
			continue
		}
		if err != nil {
			return err
		}
		to := relocationTo(s.Body, s.Location)
		lost := func(at state.Location) bool { return !here.has(state.Located{Body: s.Body, Location: at}) }
		if _, err := state.Relocate(kv, s.Body, lost, to.to); err != nil {
			return err
		}
	}
	return nil
}

// recheck lists the bodies that something refers to and that are nowhere, once the
// index is past what it was made of.
func (m *mover) recheck() error {
	due := m.damaged.recheck()
	if due == 0 || m.index.Applied().LSN < due {
		return nil
	}
	if err := m.nowhere(); err != nil {
		return err
	}
	m.damaged.setRecheck(0)
	return nil
}

// nowhere lists the bodies that something refers to and that are nowhere. Nobody else
// retires packs or trims the journal meanwhile.
func (m *mover) nowhere() error {
	snap, err := m.snapshot()
	if err != nil {
		return err
	}
	defer snap.release()
	here := holdingOf(m.packs, m.journal.Low().LSN)
	for b, err := range state.Locations(snap, 0, 0) {
		if err != nil {
			return fmt.Errorf("look for bodies: %w", err)
		}
		if !here.has(b) {
			m.noteNowhere(b)
		}
	}
	return nil
}

func (inc *incarnation) noteNowhere(b state.Located) {
	d := Damaged{Body: b.Body, Why: "it is in no pack and not in the journal any more"}
	if b.InPack() {
		d.Pack = packLocation(b.Pack).Pack.String()
	}
	if inc.damaged.note(d) {
		inc.log.Error("a stored body is nowhere; it is fetched from another copy", "lsn", b.Body)
	}
}
