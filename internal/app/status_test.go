package app

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/memory"
)

func TestStatusOfTheWholeCluster(t *testing.T) {
	r := newRig(t)
	for _, rec := range []coord.MachineRecord{
		{Machine: "m1", Storage: true, Link: "10.0.0.1:4190"},
		{Machine: "m2", Storage: true, Draining: true},
		{Machine: "m3", Storage: true},
		{Machine: "m4", Storage: true, Draining: true}, // does not answer
		{Machine: "m5"}, // a witness
	} {
		r.putMachine(rec)
	}
	r.put(coord.StoreKey("s01"), s01().Encode())
	r.put(coord.StoreKey("s02"), cluster.StoreRecord{Store: "s02", Slots: []cluster.SlotRef{
		{Slot: cluster.SlotID{4}, Machine: "m2"}, {Slot: cluster.SlotID{5}, Machine: "m4"},
	}}.Encode())
	r.put(coord.SettingsKey, coord.Encode(coord.Settings{Paused: true}))
	r.agents["m1"] = agent.Status{PID: 11, Slots: []agent.SlotStatus{
		{Slot: cluster.SlotID{1}, Role: "master", State: "ok", Durable: 100},
		{Slot: cluster.SlotID{9}, Role: "replica", State: "ok", Durable: 1000}, // another store's
	}}
	r.agents["m2"] = agent.Status{PID: 12, Slots: []agent.SlotStatus{{Slot: cluster.SlotID{2}, Role: "replica", State: "catching up", Durable: 70}}}
	r.agents["m3"] = agent.Status{PID: 13, Lost: []agent.Lost{{Slot: cluster.SlotID{3}, Why: "not mounted"}}}

	got, err := r.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := api.Status{
		Cluster: "test", Paused: "no reason was given",
		Stores: []api.StoreStatus{
			{Name: "s01", Epoch: 3, Master: "m1", InSync: []cluster.Machine{"m1", "m2"}, Slots: []api.SlotStatus{
				{Slot: cluster.SlotID{1}, Machine: "m1", Role: "master", State: "ok", LSN: 100},
				{Slot: cluster.SlotID{2}, Machine: "m2", Role: "replica", State: "catching up", LSN: 70, LagBytes: 30},
				{Slot: cluster.SlotID{3}, Machine: "m3", Role: "failed", State: "failed", Reason: "not mounted", LagBytes: 100},
			}},
			{Name: "s02", InSync: []cluster.Machine{}, Slots: []api.SlotStatus{
				{Slot: cluster.SlotID{4}, Machine: "m2", Role: "idle", State: "opening"}, // its agent does not know of it yet
				{Slot: cluster.SlotID{5}, Machine: "m4", Role: "unknown", State: "unreachable"},
			}},
		},
		Machines: []api.MachineStatus{
			{Name: "m1", PID: 11, State: "up", Masters: 1, Address: "10.0.0.1:4190"},
			{Name: "m2", PID: 12, State: "drained", Replicas: 2},
			{Name: "m3", PID: 13, State: "up", Replicas: 1},
			{Name: "m4", State: "down", Replicas: 1},
			{Name: "m5", State: "down"},
		},
	}
	if len(got.Problems) != 1 || got.Problems[0].Code != "controller-silent" {
		t.Errorf("problems without a controller: %+v", got.Problems)
	}
	got.Problems = nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	r.putMachine(coord.MachineRecord{Machine: "m1", Storage: true, Draining: true})
	r.put(coord.SettingsKey, coord.Encode(coord.Settings{Paused: true, PausedReason: "rewiring"}))
	if got, err = r.Status(t.Context()); err != nil || got.Machines[0].State != "draining" || got.Paused != "rewiring" {
		t.Errorf("with a master left: %+v, %v", got, err)
	}
}

func TestWithoutTheCoordinatorTheApiSaysSo(t *testing.T) {
	r := newRig(t)
	r.mem.SetFaults(memory.Faults{Down: errors.New("cut off")})
	_, drain := r.Drain(t.Context(), "m1")
	_, switchover := r.Switchover(t.Context(), "s01", api.SwitchRequest{})
	_, digest := r.Digest(t.Context(), "s01")
	_, stores := r.CreateStores(t.Context(), api.StoresRequest{})
	_, remove := r.RemoveMachine(t.Context(), "m2", api.RemoveRequest{})
	_, token := r.CreateToken(t.Context(), api.TokenRequest{})
	for name, err := range map[string]error{
		"drain": drain, "undrain": r.Undrain(t.Context(), "m1"), "switchover": switchover, "digest": digest,
		"stores": stores, "remove": remove, "token": token,
	} {
		var e *api.Error
		if !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable || !strings.Contains(e.Message, "the coordinator does not answer") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
