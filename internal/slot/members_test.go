package slot

import (
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
)

func TestOlderDiskIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	rng := mathrand.New(mathrand.NewPCG(1, 1))
	for _, n := range w.node {
		n.start()
	}
	n := w.lead(0)
	w.inSync()
	if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
		t.Fatal(err)
	}
	deliverOne(t, n, 1, "Subject: one\r\n\r\n")
	second := w.node[1]
	old := second.cfg.FS.(*power).cut(100, rng)
	second.stop()
	second.cfg.FS = old.cut(100, rng) // the disk as it is; old is the backup
	again := newPower(old.mem)
	second.start()
	w.eventually(func() error { // the record may have it in the set since the first open
		if rec, _, _, _ := w.Read(t.Context()); rec.Slots[1].Counter != 2 || !rec.IsInSync(second.cfg.Slot) {
			return fmt.Errorf("record %+v", rec)
		}
		return nil
	})
	deliverOne(t, n, 2, "Subject: two\r\n\r\n")
	second.stop()
	second.cfg.FS = again
	second.start()
	w.eventually(func() error {
		if st := second.Status(); st.State != StateFailed || !strings.Contains(st.Reason, string(replica.OlderDisk)) {
			return fmt.Errorf("status %+v", st)
		}
		return nil
	})
	deliverOne(t, n, 3, "Subject: three\r\n\r\n")
}

func TestClonedMachineIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		n := w.node[0]
		n.start()
		w.lead(0)
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		n.stop()
		clone := &node{world: w, cfg: n.cfg}
		clone.cfg.FS = n.cfg.FS.(*power).cut(100, mathrand.New(mathrand.NewPCG(1, 1)))
		n.cfg.FS = newPower(n.cfg.FS.(*power).mem)
		n.start()
		w.lead(0)
		clone.cfg.Peers = clone
		clone.start()
		defer clone.stop()
		w.eventually(func() error {
			if st := clone.Status(); st.State != StateFailed {
				return fmt.Errorf("status of the clone %+v", st)
			}
			return nil
		})
		deliverOne(t, n, 1, "Subject: one\r\n\r\n")
	})
}

func TestOtherDirectoriesAreNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := newWorld(t, 1).node[0].cfg
		other := cfg
		other.Slot = cluster.SlotID{77}
		if _, _, err := New(other).open(); !errors.Is(err, cluster.ErrDamaged) {
			t.Errorf("another slot's directories: %v", err)
		}
		if err := cfg.FS.RemoveAll(cfg.Spool); err != nil {
			t.Fatal(err)
		}
		if _, _, err := New(cfg).open(); !errors.Is(err, cluster.ErrDamaged) {
			t.Errorf("empty mount: %v", err)
		}
		if err := cfg.FS.RemoveAll(cfg.Meta); err != nil {
			t.Fatal(err)
		}
		if _, _, err := New(cfg).open(); !errors.Is(err, ErrNoSlot) {
			t.Errorf("nothing: %v", err)
		}
	})
}

func TestNewSlotInAWipedOnesPlaceCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		for _, n := range w.node {
			n.start()
		}
		n := w.lead(0)
		w.inSync()
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		for i := range byte(30) {
			deliverOne(t, n, i+1, "Subject: early\r\n\r\n"+strings.Repeat("x", 100_000))
		}
		w.node[1].stop()
		w.eventually(func() error { // the rest goes on alone
			rec, _, _, _ := w.Read(t.Context())
			if len(rec.InSync) != 1 {
				return fmt.Errorf("in sync: %v", rec.InSync)
			}
			return nil
		})
		deliverOne(t, n, 100, "Subject: alone\r\n\r\n")
		lost := w.node[1].cfg.Slot
		w.mu.Lock()
		w.node = w.node[:1]
		w.mu.Unlock()
		w.replace(lost, w.add(inMemory(2)))
		w.sameEverywhere()
		w.node[0].stop()
		if got := contents(t, w.lead(1)); len(got) != 31 {
			t.Errorf("%d messages on the new copy", len(got))
		}
	})
}

// replace shows everybody a record in which n stands where lost stood.
func (w *world) replace(lost cluster.SlotID, n *node) {
	w.t.Helper()
	w.eventually(func() error {
		rec, rev, _, _ := w.Read(w.t.Context())
		kept := rec.Slots[:0]
		for _, ref := range rec.Slots {
			if ref.Slot != lost {
				kept = append(kept, ref)
			}
		}
		rec.Slots, rec.Nonce = kept, "replaced"
		if ok, _, err := w.Swap(w.t.Context(), rev, rec); !ok || err != nil {
			return fmt.Errorf("record changed meanwhile: %v", err)
		}
		return nil
	})
	n.start()
}
