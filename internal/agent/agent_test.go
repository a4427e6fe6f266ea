package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/slot"
)

func TestSlotOfARecordIsCreatedAndServes(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		if _, err := s.agents["m1"].Slot("s1"); !errors.Is(err, cluster.ErrNotMaster) {
			t.Errorf("a store that is nowhere: %v", err)
		}
		s.write(newStore("s1", "m1"))
		s.write(newStore("s2", "m2"))
		s.lead("m1", "s1")
		s.agents["m1"].wantStates("s1 01 ok")
		if st := s.agents["m1"].Stats(); len(st) != 1 || st[0].Lost || st[0].Role != "master" || st[0].Promotions != 1 {
			t.Errorf("stats: %+v", st)
		}
		if sl, err := s.agents["m1"].Slot("s1"); err != nil || sl.Status().Store != "s1" {
			t.Errorf("slot: %v", err)
		}
		if _, err := s.agents["m1"].Slot("s2"); !errors.Is(err, cluster.ErrNotMaster) {
			t.Errorf("another machine's store: %v", err)
		}
	}, "m1")
}

func TestSlotIsOpenedAgainAfterARestart(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.write(newStore("s1", "m1"))
		s.lead("m1", "s1")
		epoch := s.read("s1").Epoch
		n := s.agents["m1"]
		n.stop()
		n.start("m1")
		s.lead("m1", "s1")
		if rec := s.read("s1"); rec.Epoch <= epoch || rec.Slots[0].Counter < 2 {
			t.Errorf("record %+v", rec)
		}
	}, "m1")
}

// TestWipedSlotIsLostAndComesBackWithItsDisk: an empty directory must not take the
// name of a slot that holds acknowledged mail.
func TestWipedSlotIsLostAndComesBackWithItsDisk(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.write(newStore("s1", "m1"))
		s.lead("m1", "s1")
		n := s.agents["m1"]
		n.stop()
		unmounted := n.fs
		n.fs = vfs.NewMem()
		n.start("m1")
		n.wantStates("s1 01 lost")
		if _, err := n.Slot("s1"); err == nil {
			t.Error("a lost slot is given out")
		}
		if why := n.Status().Lost[0].Why; !strings.Contains(why, "not mounted, or wiped") {
			t.Errorf("why: %s", why)
		}
		if st := n.Stats(); len(st) != 1 || !st[0].Lost || st[0].Store != "s1" {
			t.Errorf("stats: %+v", st)
		}
		if list, err := n.fs.List("/meta"); err == nil {
			t.Errorf("something was created: %v", list)
		}
		n.stop()
		n.fs = unmounted
		n.start("m1")
		s.lead("m1", "s1")
		n.wantStates("s1 01 ok")
	}, "m1")
}

// TestSlotWhoseDiskComesLateIsFoundWithoutARestart: mounted after the process began.
func TestSlotWhoseDiskComesLateIsFoundWithoutARestart(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.write(newStore("s1", "m1"))
		s.lead("m1", "s1")
		n := s.agents["m1"]
		n.stop()
		for _, d := range []string{"/meta", "/spool"} {
			if err := n.fs.Rename(d, d+".elsewhere"); err != nil {
				t.Fatal(err)
			}
		}
		n.start("m1")
		n.wantStates("s1 01 lost")
		for _, d := range []string{"/meta", "/spool"} {
			if err := n.fs.Rename(d+".elsewhere", d); err != nil {
				t.Fatal(err)
			}
		}
		s.within(lastLook, func() error { _, err := n.Slot("s1"); return err })
		s.lead("m1", "s1")
	}, "m1")
}

// TestSlotThatWasNeverCompletedIsMadeAgain: a kill in the middle of its creation
// leaves a journal without an identity.
func TestSlotThatWasNeverCompletedIsMadeAgain(t *testing.T) {
	for _, left := range []string{"/meta/slots/s1.01000000/journal/x", "/spool/slots/s1.01000000/slot"} {
		inSite(t, func(t *testing.T, s *site) {
			n := s.agents["m1"]
			dir := n.fs.PathDir(left)
			if err := n.fs.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			f, err := n.fs.Create(left, vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			s.write(newStore("s1", "m1"))
			s.lead("m1", "s1")
			if _, err := n.fs.Stat(strings.Replace(left, "s1.01000000", "s1.01000000.unfinished0", 1)); err != nil {
				t.Errorf("what was there is gone: %v", err)
			}
		}, "m1")
	}
}

func TestAnotherStoresDataIsNotOpened(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.write(newStore("s1", "m1"))
		s.lead("m1", "s1")
		n := s.agents["m1"]
		n.stop()
		for _, d := range []string{"/meta/slots/", "/spool/slots/"} {
			if err := n.fs.Rename(d+"s1.01000000", d+"s2.05000000"); err != nil {
				t.Fatal(err)
			}
		}
		other := newStore("s2", "m1")
		other.Slots[0].Slot = slotID(5)
		s.write(other)
		n.start("m1")
		n.wantStates("s2 05 failed, s1 01 lost")
	}, "m1")
}

func TestReplacedSlotIsClosedAndItsDataKept(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.write(newStore("s1", "m1", "m2"))
		s.lead("m1", "s1")
		n := s.agents["m2"]
		n.wantStates("s1 02 ok")
		s.agents["m1"].stop() // it would see an illegal change of its record
		rec := s.read("s1")
		rec.Slots[1] = cluster.SlotRef{Slot: slotID(9), Machine: "m2"}
		rec.InSync = []cluster.SlotID{slotID(1)}
		s.write(rec)
		n.wantStates("s1 09 catching up")
		if got := strings.Join(n.dirs(), " "); got != "s1.02000000 s1.09000000" && got != "s1.09000000 s1.02000000" {
			t.Errorf("directories %s", got)
		}
		// And back again: the first is opened when it has closed, not before.
		rec.Slots[1].Slot = slotID(2)
		rec.Slots[1].Counter = 1
		s.write(rec)
		n.wantStates("s1 02 catching up")
		s.agents["m1"].start("m1")
	}, "m1", "m2")
}

// TestVanishedAndUnreadableRecordsChangeNothing: a wiped coordinator is no reason
// to stop mail.
func TestVanishedAndUnreadableRecordsChangeNothing(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.write(newStore("s1", "m1"))
		s.lead("m1", "s1")
		n := s.agents["m1"]
		before, err := n.Slot("s1")
		if err != nil {
			t.Fatal(err)
		}
		wrong := newStore("s7", "m1")
		same := newStore("s9", "m1") // with the slot id of s1's
		for _, op := range []coord.Op{
			coord.Put(coord.StoreKey("s1"), []byte("{")), coord.Put(coord.StoreKey("s8"), wrong.Encode()),
			coord.Put(coord.StoreKey("s9"), same.Encode()), coord.Delete(coord.StoreKey("s1")),
		} {
			if _, _, err := s.coord.Client().Txn(t.Context(), coord.Txn{Then: []coord.Op{op}}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if now, err := n.Slot("s1"); err != nil || now != before {
				t.Errorf("after %s: %v", op.Key, err)
			}
		}
		n.wantStates("s1 01 ok")
	}, "m1")
}

// hangingFS never answers about a path.
type hangingFS struct {
	vfs.FS
	path string
	gate chan struct{}
}

func (f *hangingFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	if strings.HasPrefix(name, f.path) {
		<-f.gate
	}
	return f.FS.Open(name, o...)
}

func TestHangingDiskOfOneSlotStopsNeitherOthersNorAnswers(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		n := s.agents["m1"]
		n.stop()
		h := &hangingFS{n.fs, "/spool/slots/s1.", make(chan struct{})}
		n.start("m1")
		n.stop()
		cfg := n.cfg
		cfg.FS = h
		n.Agent = New(cfg)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = n.Run(ctx) }()
		n.stop = func() { cancel(); <-done }
		s.write(newStore("s1", "m1"))
		other := newStore("s2", "m1")
		other.Slots[0].Slot = slotID(5)
		s.write(other)
		s.lead("m1", "s2")
		n.wantStates("s1 01 opening, s2 05 ok")
		if _, err := n.Slot("s1"); err == nil {
			t.Error("a slot that is not open is given out")
		}
		close(h.gate)
		s.lead("m1", "s1")
	}, "m1")
}

func TestStatusSurvivesTheWire(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.write(newStore("s1", "m1", "m2"))
		s.lead("m1", "s1")
		lost := newStore("s2", "m1")
		lost.Slots[0] = cluster.SlotRef{Slot: slotID(7), Machine: "m1", Counter: 3}
		s.write(lost)
		s.agents["m1"].wantStates("s1 01 ok, s2 07 lost")
		got, err := s.agents["m2"].cfg.Remote.Status(t.Context(), "m1")
		if err != nil || got.Machine != "m1" || got.PID == 0 || len(got.Slots) != 1 || len(got.Lost) != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
		here, x := s.agents["m1"].Status().Slots[0], got.Slots[0]
		if x.Incarnation != here.Incarnation || x.Record.Master != slotID(1) || x.Role != "master" || x.State != slot.StateOK || !x.Serving {
			t.Errorf("got %+v, is %+v", x, here)
		}
	}, "m1", "m2")
}
