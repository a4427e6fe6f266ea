package slot

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
)

// handScrubber is a scrubber that does not wait.
func (n *node) handScrubber() *scrubber {
	return &scrubber{incarnation: n.current(), pace: &pace{rate: 1 << 50, clock: n.cfg.Clock, sleep: sleep}}
}

func TestBitFlipInAPackIsFoundAndHurtsNoOtherBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 1)
		n := w.node[0]
		n.fillSegments(t, 100, 700, 300, 400_000)
		m := n.handMover()
		n.move(t, m)
		now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
		later := func(d time.Duration) {
			now = now.Add(d)
			at := now
			n.date.Store(&at)
		}
		later(0)
		s := n.handScrubber()
		look := func() {
			t.Helper()
			if err := errors.Join(s.look(t.Context()), n.damaged.save(n.cfg.FS, n.cfg.Spool)); err != nil {
				t.Fatal(err)
			}
		}
		look() // when it is due is settled
		if got := n.Stats().Packs; got.Scrubbed != 0 {
			t.Errorf("scrubbed before its time: %+v", got)
		}
		later(scrubEvery)
		look()
		if got := n.Stats().Packs; got.Scrubbed == 0 || got.Damaged != 0 {
			t.Errorf("stats %+v", got)
		}
		flipIn(t, n.cfg.FS, n.cfg.FS.PathJoin(n.cfg.Spool, packsDir), ".pack", text(1, 700)[20:60])
		look()
		if got := n.Stats().Packs; got.Damaged != 0 {
			t.Errorf("scrubbed twice in a week: %+v", got)
		}
		later(scrubEvery)
		look()
		if got := n.Stats().Packs; got.Damaged != 1 {
			t.Errorf("stats %+v", got)
		}
		onlySecond(t, n, "pack")
		n.stop()
		n.start() // another process
		w.lead(0)
		if lost := n.Status().Damaged; len(lost) != 1 {
			t.Errorf("after opening again: %v", lost)
		}
		onlySecond(t, n, "pack")
		inbox, _ := inboxOf(t, n)
		expunge(t, n, inbox, 1, 3)
		n.itsTurn(t, true)
		m = n.handMover()
		if err := m.collectSome(t.Context()); err != nil {
			t.Fatal(err)
		}
		errs := readable(t, n)
		if !errors.Is(errs[0], mail.ErrCorrupt) || errors.Join(errs[1:]...) != nil {
			t.Errorf("after a collection: %v", errs)
		}
		expunge(t, n, inbox, 2)
		if err := m.review(); err != nil || len(n.Status().Damaged) != 0 {
			t.Errorf("when it was expunged: %v, %v", n.Status().Damaged, err)
		}
	})
}

func TestPacksOfASlotAreListedBesideIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 1)
		n := w.node[0]
		n.fillSegments(t, mixedSizes...)
		m := n.handMover()
		n.move(t, m)
		id := n.current().packs.Packs()[0].ID.String()
		m.damaged.note(Damaged{Body: 5, Pack: id, Why: "x"})
		if err := m.damaged.save(n.cfg.FS, n.cfg.Spool); err != nil {
			t.Fatal(err)
		}
		var got []Entry
		if err := DumpPacks(n.cfg.FS, n.cfg.Spool, func(e Entry) error { got = append(got, e); return nil }); err != nil {
			t.Fatal(err)
		}
		packed, _, _ := n.located(t)
		if len(got) != 2 || got[0].Pack == nil || got[0].Pack.ID != id || got[0].Pack.Entries != packed || got[0].Pack.Damaged != "" || got[1].Damaged == nil || got[1].Damaged.Body != 5 {
			t.Errorf("%d entries, the first %+v", len(got), got[0].Pack)
		}
		path := n.cfg.FS.PathJoin(n.cfg.Spool, packsDir, id+".pack")
		flip(t, n.cfg.FS, path, got[0].Pack.Size-20)
		got = nil
		if err := DumpPacks(n.cfg.FS, n.cfg.Spool, func(e Entry) error { got = append(got, e); return nil }); err != nil || got[0].Pack.Damaged == "" {
			t.Errorf("a pack without its end: %+v, %v", got[0].Pack, err)
		}
	})
}

func TestReaderThatMeetsDamageReportsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 1)
		n := w.node[0]
		n.fillSegments(t, 100, 700, 300)
		n.move(t, n.handMover())
		flipIn(t, n.cfg.FS, n.cfg.FS.PathJoin(n.cfg.Spool, packsDir), ".pack", text(1, 700)[20:60])
		onlySecond(t, n, "pack")
	})
}

func TestListOfDamageIsBounded(t *testing.T) {
	var d damaged
	for i := range 2 * maxDamaged {
		d.note(Damaged{Body: mail.BodyID(i / 2), Why: fmt.Sprint(i)})
		d.note(Damaged{Body: mail.BodyID(i + 1), Pack: "1"})
	}
	if n := len(d.list()); n != maxDamaged {
		t.Errorf("%d entries", n)
	}
}
