package slot

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/state"
)

func TestNeverTwoCopiesHaveTheirTurnToCollect(t *testing.T) {
	for n := 1; n <= 3; n++ {
		rec := cluster.StoreRecord{}
		for i := range n {
			rec.Slots = append(rec.Slots, cluster.SlotRef{Slot: cluster.SlotID{byte(i + 1)}})
		}
		turns := make([]int, n)
		begin := time.Date(2026, 11, 1, 0, 30, 0, 0, time.UTC)
		for hour := range 24 * 6 {
			now := begin.Add(time.Duration(hour) * time.Hour)
			total := 0
			for i := range n {
				// Clocks that are 29 minutes off.
				for _, skew := range []time.Duration{-29 * time.Minute, 0, 29 * time.Minute} {
					if turn(&rec, rec.Slots[i].Slot, now.Add(skew)) {
						turns[i]++
						total++
						break
					}
				}
			}
			if total > 1 {
				t.Errorf("%d of %d copies at %v", total, n, now)
			}
		}
		for i, got := range turns {
			if got < 22*6/n {
				t.Errorf("copy %d of %d has %d hours of 6 days", i, n, got)
			}
		}
		if turn(&rec, cluster.SlotID{99}, begin.Add(12*time.Hour)) {
			t.Error("a slot that is no copy collects")
		}
	}
}

func TestPacksWithMuchThatIsDeadAreChosen(t *testing.T) {
	u := func(id pack.ID, stored, alive int64) use { return use{pack.Pack{ID: id, Stored: stored}, alive} }
	list := []use{
		u(1, 900, 0), u(2, 900, 601), u(3, 900, 600), u(4, 900, 10), u(5, 900, 10),
		u(6, 1<<40, collectAtOnce), u(7, 900, 1000),
	}
	empty, rewrite := collection(list, map[pack.ID]bool{5: true, 1: true})
	if d := cmp.Diff([]pack.ID{1}, empty); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]pack.ID{3, 4}, rewrite); d != "" {
		t.Error(d)
	}
	if _, rewrite = collection(list[5:], nil); len(rewrite) != 1 {
		t.Errorf("a pack larger than what is taken at once: %v", rewrite)
	}
}

// itsTurn makes it noon of a day on which the node may collect, or may not.
func (n *node) itsTurn(t testing.TB, yes bool) {
	t.Helper()
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	rec, _, _, _ := n.world.Read(t.Context())
	for turn(&rec, n.cfg.Slot, now) != yes {
		now = now.Add(24 * time.Hour)
	}
	n.date.Store(&now)
}

// inboxOf is the id of INBOX, and its UIDs.
func inboxOf(t testing.TB, n *node) (id mail.MailboxID, next mail.UID) {
	t.Helper()
	v, err := n.Account(accountID).View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	inbox, err := v.Lookup("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	return inbox.ID, inbox.UIDNext
}

func TestWhatIsDeadIsCollectedAndTheRestStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 2)
		n := w.node[0]
		want := n.fillSegments(t, mixedSizes...)
		m := n.handMover()
		n.move(t, m)
		before := n.Stats().Packs
		inbox, next := inboxOf(t, n)
		view, err := n.Account(accountID).View(t.Context()) // an older picture
		if err != nil {
			t.Fatal(err)
		}
		defer view.Close()
		kept, err := view.Message(inbox, 3)
		if err != nil {
			t.Fatal(err)
		}
		gone, err := view.Message(inbox, 8)
		if err != nil {
			t.Fatal(err)
		}
		pinned, err := view.Open(t.Context(), gone)
		if err != nil {
			t.Fatal(err)
		}
		var dead []mail.UID
		left := want[:0:0]
		for uid := mail.UID(1); uid < next; uid++ {
			if uid%4 == 0 || uid > 5 {
				dead = append(dead, uid)
			} else {
				left = append(left, want[uid-1])
			}
		}
		expunge(t, n, inbox, dead...)
		n.itsTurn(t, false)
		if err := m.collectSome(t.Context()); err != nil {
			t.Fatal(err)
		}
		if now := n.Stats().Packs; now.Collected != 0 || now.Octets != before.Octets {
			t.Errorf("collected when it was another's turn: %+v", now)
		}
		n.itsTurn(t, true)
		if err := m.collectSome(t.Context()); err != nil {
			t.Fatal(err)
		}
		after := n.Stats().Packs
		if after.Collected == 0 || after.Octets > before.Octets/2 || after.Packs > 1 {
			t.Errorf("packs %+v, before %+v", after, before)
		}
		if got := contents(t, n); !slices.Equal(got, left) {
			t.Error("messages differ after the collection")
		}
		c, err := view.Open(t.Context(), kept)
		if err != nil {
			t.Fatalf("a message by an older picture: %v", err)
		}
		b := make([]byte, c.Size())
		if _, err := c.ReadAt(b, 0); err != nil || string(b) != want[2] || c.Close() != nil {
			t.Errorf("a message by an older picture: %v", err)
		}
		b = make([]byte, pinned.Size())
		if _, err := pinned.ReadAt(b, 0); err != nil || string(b) != want[7] || pinned.Close() != nil {
			t.Errorf("a content that was open: %v", err)
		}
		if _, err := view.Open(t.Context(), gone); !errors.Is(err, mail.ErrNoMessage) {
			t.Errorf("an expunged message by an older picture: %v", err)
		}
		other := w.node[1]
		other.move(t, other.handMover()) // packs of its own
		w.sameEverywhere()
		if err := n.SwitchTo(t.Context(), other.cfg.Slot, 0); err != nil {
			t.Fatal(err)
		}
		w.lead(1)
		if got := contents(t, other); !slices.Equal(got, left) {
			t.Error("the partner's messages differ")
		}
	})
}

// TestPackWithoutLocationsIsRemoved: as a kill between pack and index leaves it.
func TestPackWithoutLocationsIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 1)
		n := w.node[0]
		want := n.fillSegments(t, mixedSizes...)
		inc := n.current()
		orphan, err := inc.packs.Create()
		if err != nil {
			t.Fatal(err)
		}
		e := pack.Entry{Body: 1, Length: 0, SHA256: [32]byte{0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55}}
		if _, err := orphan.Add(e, eof{}); err != nil {
			t.Fatal(err)
		}
		p, err := orphan.Seal()
		if err != nil {
			t.Fatal(err)
		}
		m := n.handMover()
		n.move(t, m)
		n.itsTurn(t, true)
		if err := m.collectSome(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, q := range inc.packs.Packs() {
			if q.ID == p.ID {
				t.Error("it is still there")
			}
		}
		if got := contents(t, n); !slices.Equal(got, want) {
			t.Error("messages differ")
		}
	})
}

// TestPackThatAnIndexWithoutLocationsNeedsIsKept: as one that was made from a snapshot
// would be before it is told where bodies are.
func TestPackThatAnIndexWithoutLocationsNeedsIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 1)
		n := w.node[0]
		n.fillSegments(t, mixedSizes...)
		m := n.handMover()
		n.move(t, m)
		inc := n.current()
		kv := inc.index.Cold()
		snap, err := inc.snapshot()
		if err != nil {
			t.Fatal(err)
		}
		var lost error
		for b, err := range state.Locations(snap, 0, 0) {
			if err != nil {
				t.Fatal(err)
			}
			lost = errors.Join(lost, kv.Delete(binary.BigEndian.AppendUint64([]byte{'l'}, uint64(b.Body))))
		}
		snap.release()
		if err := errors.Join(lost, kv.Commit(inc.index.Applied()), kv.Close()); err != nil {
			t.Fatal(err)
		}
		before := len(inc.packs.Packs())
		n.itsTurn(t, true)
		if err := m.collectSome(t.Context()); !errors.Is(err, cluster.ErrDamaged) {
			t.Errorf("collected: %v", err)
		}
		if now := len(inc.packs.Packs()); now != before || now == 0 {
			t.Errorf("%d packs, %d before", now, before)
		}
	})
}

// eof is an empty body.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
