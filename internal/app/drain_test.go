package app

import (
	"net/http"
	"slices"
	"testing"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

func TestDrainOfAnUnknownMachineChangesNothing(t *testing.T) {
	r := newRig(t)
	_, err := r.Drain(t.Context(), "m9")
	wantError(t, err, http.StatusNotFound, "there is no machine m9")
	wantError(t, r.Undrain(t.Context(), "m9"), http.StatusNotFound, "there is no machine m9")
	if _, there := r.machineRecord("m9"); there {
		t.Error("the machine has a record now")
	}
}

func TestDrainMarksTheMachineAndNamesTheStoresThatStay(t *testing.T) {
	r := newRig(t)
	r.putMachine(coord.MachineRecord{Machine: "m1", Zone: "z1"})
	alone := s01()
	alone.InSync = []cluster.SlotID{{1}}
	r.put(coord.StoreKey("s01"), alone.Encode())
	elsewhere := s01()
	elsewhere.Store, elsewhere.Master = "s02", cluster.SlotID{2}
	r.put(coord.StoreKey("s02"), elsewhere.Encode())
	got, err := r.Drain(t.Context(), "m1")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"store s01: store s01 has no other copy in sync to switch to"}; !slices.Equal(got.Failed, want) || len(got.Switches) != 0 || got.Machine != "m1" {
		t.Errorf("got %+v", got)
	}
	if rec, _ := r.machineRecord("m1"); !rec.Draining || rec.Zone != "z1" {
		t.Errorf("record %+v", rec)
	}
	for range 2 { // asked again it is no error
		if err := r.Undrain(t.Context(), "m1"); err != nil {
			t.Fatal(err)
		}
	}
	if rec, _ := r.machineRecord("m1"); rec.Draining || rec.Zone != "z1" {
		t.Errorf("record %+v", rec)
	}
}

func TestSwitchoverNamesWhatCannotBe(t *testing.T) {
	r := newRig(t)
	r.put(coord.StoreKey("s01"), s01().Encode())
	r.put(coord.StoreKey("s02"), cluster.StoreRecord{Store: "s02", Slots: []cluster.SlotRef{{Slot: cluster.SlotID{4}, Machine: "m2"}}}.Encode())
	for _, tc := range []struct {
		store   cluster.Store
		to      cluster.Machine
		status  int
		message string
	}{
		{"s09", "", http.StatusNotFound, "there is no store s09"},
		{"s02", "", http.StatusConflict, "store s02 has no master yet"},
		{"s01", "m1", http.StatusConflict, "store s01 is served by m1 already"},
		{"s01", "m3", http.StatusConflict, "the copy of store s01 on m3 is not in sync"},
		{"s01", "m9", http.StatusConflict, "store s01 has no other copy in sync to switch to"},
	} {
		_, err := r.Switchover(t.Context(), tc.store, api.SwitchRequest{To: tc.to})
		wantError(t, err, tc.status, tc.message)
	}
}

func TestFoundingNeedsItsMachines(t *testing.T) {
	r := newRig(t)
	r.putMachine(coord.MachineRecord{Machine: "m1", Storage: true})
	for _, req := range []api.StoresRequest{{Count: -1, Copies: 1}, {Count: 1, Copies: 6}, {Count: 10_001, Copies: 1}} {
		_, err := r.CreateStores(t.Context(), req)
		wantError(t, err, http.StatusBadRequest, "between 1 and 10000 stores of 1 to 5 copies can be made")
	}
	_, err := r.CreateStores(t.Context(), api.StoresRequest{Count: 1, Machines: 3})
	wantError(t, err, http.StatusConflict, "0 of 3 machines are up")
}
