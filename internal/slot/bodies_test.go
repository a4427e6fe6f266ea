package slot

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/state"
)

// trim gives up what the node's journal need not hold.
func (n *node) trim(t testing.TB) {
	t.Helper()
	if err := n.current().journal.Trim(n.sealed()); err != nil {
		t.Fatal(err)
	}
}

// collectAll rewrites every pack, so that nothing is where a snapshot has it.
func (n *node) collectAll(t testing.TB, m *mover) {
	t.Helper()
	snap, err := m.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.release()
	var ids []pack.ID
	for _, p := range m.packs.Packs() {
		ids = append(ids, p.ID)
	}
	if _, err := m.rewrite(t.Context(), snap, ids); err != nil {
		t.Fatal(err)
	}
}

// TestRestoredIndexFindsEveryBody: those that were in the journal when the snapshot
// was taken, and those whose packs were collected since.
func TestRestoredIndexFindsEveryBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 1)
		n := w.node[0]
		n.cfg.Hurry.AnyTurn = true
		n.stop()
		n.start()
		w.lead(0)
		n.fillSegments(t, mixedSizes...)
		m := n.handMover()
		n.move(t, m)
		for i := range 30 {
			deliverOne(t, n, byte(50+i), text(100+i, 9000))
		}
		save(t, n)
		inbox, _ := inboxOf(t, n)
		expunge(t, n, inbox, 1) // its pack goes, and the snapshot still has it
		n.fillSegments(t)
		want := contents(t, n)
		n.move(t, m)
		n.collectAll(t, m)
		n.trim(t)
		n.stop()
		loseIndex(t, n)
		n.start()
		w.lead(0)
		if low := n.current().journal.Low().LSN; low == 0 {
			t.Fatal("the journal was not trimmed")
		}
		if got := contents(t, n); !slices.Equal(got, want) {
			t.Errorf("%d messages, want %d, or they differ", len(got), len(want))
		}
		if err := n.handMover().look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if st := n.Status(); len(st.Damaged) > 0 || n.current().damaged.recheck() != 0 {
			t.Errorf("damaged: %+v", st.Damaged)
		}
	})
}

func TestBodyThatIsNowhereIsListedAndOthersAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 1)
		n := w.node[0]
		n.fillSegments(t, 3000, 70_000, 4000)
		n.move(t, n.handMover())
		save(t, n)
		n.trim(t)
		snap, err := n.current().snapshot()
		if err != nil {
			t.Fatal(err)
		}
		lost := map[pack.ID]int{}
		for b, err := range state.Locations(snap, 0, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if b.InPack() {
				lost[pack.ID(b.Pack.ID)]++
			}
		}
		snap.release()
		n.stop()
		bodies := 0
		for id, n1 := range lost {
			bodies += n1
			if err := n.cfg.FS.Remove(n.cfg.FS.PathJoin(n.cfg.Spool, packsDir, id.String()+".pack")); err != nil {
				t.Fatal(err)
			}
		}
		loseIndex(t, n)
		n.start()
		w.lead(0)
		deliverOne(t, n, 251, text(5, 400))
		if err := n.handMover().look(t.Context()); err != nil {
			t.Fatal(err)
		}
		errs := readable(t, n)
		for i, err := range errs {
			if whole := i >= bodies; whole != (err == nil) || !whole && !errors.Is(err, mail.ErrCorrupt) {
				t.Errorf("message %d of %d, %d lost: %v", i+1, len(errs), bodies, err)
			}
		}
		w.eventually(func() error {
			if got := n.Status().Damaged; len(got) != bodies {
				return fmt.Errorf("%d of %d listed", len(got), bodies)
			}
			return nil
		})
	})
}
