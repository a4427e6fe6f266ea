package slot

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// loadOf is what there is to be moved, and the snapshot it was seen in.
func loadOf(t *testing.T, n *node) (*load, *snapshot) {
	t.Helper()
	snap, err := n.current().snapshot()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(snap.release)
	l, _, err := newLoad(snap, 0, n.sealed(), nil)
	if err != nil || len(l.cargo) == 0 {
		t.Fatalf("load %+v, %v", l, err)
	}
	return l, snap
}

func TestBodyThatDiesOnItsWayIsDeadInThePack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 1)
		n := w.node[0]
		want := n.fillSegments(t, 100, 200, 300)
		l, snap := loadOf(t, n)
		inbox, _ := inboxOf(t, n)
		expunge(t, n, inbox, 2)
		m := n.handMover()
		l.stow()
		if err := m.write(t.Context(), snap, l.cargo); err != nil {
			t.Fatal(err)
		}
		if st := n.Stats().Packs; st.Dead != 1 || st.Moved != int64(len(l.cargo)) {
			t.Errorf("stats %+v", st)
		}
		if got := contents(t, n); !slices.Equal(got, slices.Delete(want, 1, 2)) {
			t.Error("messages differ")
		}
		snap2, err := n.current().snapshot()
		if err != nil {
			t.Fatal(err)
		}
		defer snap2.release()
		if err := state.Audit(snap2); err != nil {
			t.Error(err)
		}
	})
}

// TestRelocationsWaitForOperationsAndNotForEver: on an applier that always has more
// to apply.
func TestRelocationsWaitForOperationsAndNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 1)
		n := w.node[0]
		n.fillSegments(t, make([]int, 3*relocatePortion)...)
		l, _ := loadOf(t, n)
		r := &relocations{from: inJournal, done: make(chan struct{})}
		for _, c := range l.cargo {
			r.list = append(r.list, relocation{c.Body, state.Location{Pack: state.Packed{ID: 1, Size: 1}}})
		}
		total := len(r.list)
		a := &applier{incarnation: n.current(), moves: make(chan *relocations, 1)} // the slot's own one rests
		a.moves <- r
		rounds := 0
		for ended := false; !ended; rounds++ {
			if err := a.aside(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-r.done:
				ended = true
			default:
			}
		}
		portions := (total + relocatePortion - 1) / relocatePortion
		if rounds != portions*relocateAfter || r.moved != total || portions < 3 {
			t.Errorf("%d of %d were written in %d rounds, %d portions", r.moved, total, rounds, portions)
		}
	})
}

func TestLoadIsBounded(t *testing.T) {
	l := &load{by: map[mail.BodyID]*cargo{}}
	for i := range 5 {
		c := &cargo{brought: 3}
		c.Body = mail.BodyID(i + 1)
		l.cargo = append(l.cargo, c)
		l.by[c.Body] = c
	}
	l.cut(10)
	if len(l.cargo) != 3 || len(l.by) != 3 || l.by[4] != nil {
		t.Errorf("%d bodies, %d by id", len(l.cargo), len(l.by))
	}
	l.cut(1)
	if len(l.cargo) != 1 {
		t.Errorf("%d bodies: one at least must move", len(l.cargo))
	}
}
