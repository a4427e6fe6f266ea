package app

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"

	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/auth"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/memory"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/pki"
	"github.com/tandemail/tandemail/internal/route"
)

// rig is a machine with a coordinator in memory and, in place of other machines,
// what their agents say. What real machines do is e2e's.
type rig struct {
	*backend
	t      *testing.T
	mem    *memory.Client
	agents map[cluster.Machine]agent.Status // who is missing does not answer
}

// newRig builds and runs one; in a synctest bubble its time is virtual.
func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, mem: memory.New(), agents: map[cluster.Machine]agent.Status{}}
	log := slog.New(slog.DiscardHandler)
	m := &machine{
		cfg: &config.Config{Cluster: "test", Machine: "m1"}, name: "m1", log: log, identity: new(pki.Identity), stepping: make(chan struct{}, 1),
		coord: r.mem, routes: route.New(), users: directory.New(directory.Config{Coord: r.mem, Log: log}),
		hasher: auth.NewHasher(auth.CheapParams, nil, 1),
	}
	m.remote = &agent.Remote{Call: r.answer}
	r.backend = &backend{m}
	return r
}

// run feeds the mirrors until the test ends, and waits until they are.
func (r *rig) run() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{}, 2)
	go func() { _ = r.routes.Run(ctx, r.mem); ended <- struct{}{} }()
	go func() { _ = r.users.Run(ctx); ended <- struct{}{} }()
	r.t.Cleanup(func() { cancel(); <-ended; <-ended })
	if err := errors.Join(r.routes.Ready(ctx), r.users.Wait(ctx)); err != nil {
		r.t.Fatal(err)
	}
}

var errSilent = errors.New("no answer")

// answer is every other machine's agent: it says its status and refuses the rest.
func (r *rig) answer(_ context.Context, m cluster.Machine, req []byte) ([]byte, error) {
	st, up := r.agents[m]
	if !up {
		return nil, errSilent
	}
	var q struct{ Method string }
	if err := json.Unmarshal(req, &q); err != nil {
		return nil, err
	}
	if q.Method != "status" {
		return []byte(`{"error":"refused by the test"}`), nil
	}
	return json.Marshal(map[string]any{"status": st})
}

func (r *rig) put(key string, value []byte) {
	r.t.Helper()
	if ok, _, err := r.mem.Txn(r.t.Context(), coord.Txn{Then: []coord.Op{coord.Put(key, value)}}); !ok || err != nil {
		r.t.Fatalf("put %s: %v, %v", key, ok, err)
	}
}

func (r *rig) putMachine(rec coord.MachineRecord) {
	r.t.Helper()
	r.put(coord.MachineKey(rec.Machine), coord.Encode(rec))
}

func (r *rig) machineRecord(m cluster.Machine) (rec coord.MachineRecord, there bool) {
	r.t.Helper()
	b, rev, err := r.mem.Get(r.t.Context(), coord.MachineKey(m))
	if err != nil {
		r.t.Fatal(err)
	}
	if rev == 0 {
		return rec, false
	}
	if rec, err = coord.Decode[coord.MachineRecord](coord.KV{Value: b}); err != nil {
		r.t.Fatal(err)
	}
	return rec, true
}

// wantError checks an answer that the caller can act on.
func wantError(t *testing.T, err error, status int, message string) {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) || e.Status != status || e.Message != message {
		t.Errorf("got %v (%+v)\nwant %d %s", err, e, status, message)
	}
}

// s01 is a store with a master on m1 and copies on m2, in sync, and m3, not in sync.
func s01() cluster.StoreRecord {
	return cluster.StoreRecord{
		Store: "s01", Epoch: 3, Incarnation: 7, Master: cluster.SlotID{1}, InSync: []cluster.SlotID{{2}, {1}},
		Slots: []cluster.SlotRef{
			{Slot: cluster.SlotID{1}, Machine: "m1"},
			{Slot: cluster.SlotID{2}, Machine: "m2"},
			{Slot: cluster.SlotID{3}, Machine: "m3"},
		},
	}
}
