package app

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/coord"
)

// removal is a rig with stores on m1, m2 and m3 whose coordinator is not the
// cluster's own, so that there are no members to remove.
func removal(t *testing.T, stores ...cluster.StoreRecord) *rig {
	t.Helper()
	r := newRig(t)
	r.cfg.Control = config.Control{CA: "ca.pem"}
	for _, m := range []cluster.Machine{"m1", "m2", "m3", "m4"} {
		r.putMachine(coord.MachineRecord{Machine: m, Storage: true, Key: "key-" + string(m)})
		r.agents[m] = agent.Status{Machine: m}
	}
	for _, rec := range stores {
		r.put(coord.StoreKey(rec.Store), rec.Encode())
	}
	return r
}

func TestAMachineThatIsNeededIsNotRemoved(t *testing.T) {
	alone := s01()
	alone.InSync = alone.InSync[1:]
	for name, rec := range map[string]cluster.StoreRecord{"store s01 has its master there": s01(), "store s01 has its only copy in sync there": alone} {
		rec.Master, rec.Slots[0].Machine, rec.Slots[1].Machine = cluster.SlotID{1}, "m2", "m1"
		r := removal(t, rec)
		_, err := r.RemoveMachine(t.Context(), "m2", api.RemoveRequest{})
		wantError(t, err, http.StatusConflict, "machine m2 is needed: "+name)
		if _, there := r.machineRecord("m2"); !there {
			t.Error("it is removed")
		}
	}
	r := removal(t)
	_, err := r.RemoveMachine(t.Context(), "m9", api.RemoveRequest{})
	wantError(t, err, http.StatusNotFound, "there is no machine m9")
	_, err = r.RemoveMachine(t.Context(), "m1", api.RemoveRequest{})
	wantError(t, err, http.StatusConflict, "machine m1 cannot remove itself")
}

func TestCopiesOfARemovedMachineAreMadeAnewAndItsKeyIsStruck(t *testing.T) {
	r := removal(t, s01())
	got, err := r.RemoveMachine(t.Context(), "m3", api.RemoveRequest{})
	if err != nil || len(got.Left) != 0 || len(got.Moved) != 1 || got.Moved[0].Machines[0] != "m4" {
		t.Fatalf("%+v, %v", got, err)
	}
	rec, _, err := r.record(t.Context(), "s01")
	if err != nil || slotOn(rec, "m3") >= 0 || slotOn(rec, "m4") != 2 || rec.Slots[2].Slot == (cluster.SlotID{3}) {
		t.Errorf("record %+v, %v", rec, err)
	}
	if _, there := r.machineRecord("m3"); there {
		t.Error("its record is there")
	}
	if _, rev, err := r.mem.Get(t.Context(), coord.StruckKey("key-m3")); err != nil || rev == 0 {
		t.Errorf("its key is not struck: %v", err)
	}
}

func TestACopyInSyncIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := removal(t, s01())
		got, err := r.RemoveMachine(t.Context(), "m2", api.RemoveRequest{})
		if err != nil || !slices.Contains(got.Left, "store s01 still counts on its copy there") {
			t.Errorf("%+v, %v", got, err)
		}
		rec, _, err := r.record(t.Context(), "s01")
		if err != nil || slotOn(rec, "m2") < 0 {
			t.Errorf("a copy in sync was taken out: %+v, %v", rec, err)
		}
	})
}

func TestAStruckMachineDoesNotComeBack(t *testing.T) {
	r := newRig(t)
	r.put(coord.StruckKey(r.identity.Key.String()), coord.Encode(coord.StruckRecord{Machine: "m1"}))
	if err := r.machine.putMachine(t.Context(), func(*coord.MachineRecord) {}); !errors.Is(err, errStruck) {
		t.Errorf("registered: %v", err)
	}
	if _, there := r.machineRecord("m1"); there {
		t.Error("its record is there")
	}
}
