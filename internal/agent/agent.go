// Package agent runs the slots of one machine: those that the stores' records
// say are here. It opens and creates them, passes on what the coordinator shows,
// takes the connections of their partners, and answers other machines'
// questions about them.
//
// It decides nothing about who is master: the controller nominates, the slots'
// protocol decides.
//
// Safe for concurrent use.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/slot"
)

// Config of an Agent.
type Config struct {
	Cluster string
	Machine cluster.Machine
	Meta    string // the machine's directory on the fast disk
	Spool   string // and on the big one
	FS      vfs.FS
	Disk    *disk.Disk
	Shared  *index.Shared
	Coord   coord.Coord
	Remote  *Remote // other machines' agents
	// Dial opens a connection of its own to the replica service of machine m.
	Dial  func(ctx context.Context, m cluster.Machine, hello []byte) (net.Conn, error)
	Clock func() time.Duration
	Now   func() time.Time
	Rand  io.Reader
	Log   *slog.Logger
	// Suspects, if set, names machines that this machine cannot reach.
	Suspects func() []cluster.Machine
	// RefuseDegraded: see slot.Config.
	RefuseDegraded bool
	SegmentSize    int64
}

// Agent runs the slots. Use New.
type Agent struct {
	cfg Config
	log *slog.Logger

	mu      sync.Mutex
	slots   map[cluster.SlotID]*running
	stores  map[cluster.Store]*running // by store: one slot a store and machine
	lost    map[cluster.SlotID]lostSlot
	changed chan struct{} // closed and replaced when a slot's status changes
	wg      sync.WaitGroup
}

type running struct {
	*slot.Slot
	store  cluster.Store
	id     cluster.SlotID
	cancel context.CancelFunc
}

// lostSlot is one that the record says is here and that is not.
type lostSlot struct {
	store cluster.Store
	why   string
}

// New returns an agent that runs nothing yet.
func New(cfg Config) *Agent {
	return &Agent{
		cfg: cfg, log: cfg.Log, slots: map[cluster.SlotID]*running{}, stores: map[cluster.Store]*running{},
		lost: map[cluster.SlotID]lostSlot{}, changed: make(chan struct{}),
	}
}

// Run follows the stores' records until ctx ends, then waits for every slot to close.
func (a *Agent) Run(ctx context.Context) error {
	err := coord.Follow(ctx, a.cfg.Coord, coord.Following{Prefix: coord.StoresPrefix}, func(u coord.Update) { a.update(ctx, u) })
	a.wg.Wait()
	return err
}

func (a *Agent) update(ctx context.Context, u coord.Update) {
	for _, kv := range u.All {
		a.record(ctx, kv, u.Rev)
	}
	for _, c := range u.Changes {
		if !c.Deleted {
			a.record(ctx, c.KV, u.Rev)
		}
	}
	if errors.Is(u.Err, coord.ErrRewound) {
		a.log.Error("the coordinator went back to an older state; slots keep what they know", "err", u.Err)
	}
}

// record makes the slot of this store here what the record says.
func (a *Agent) record(ctx context.Context, kv coord.KV, coordRev cluster.Rev) {
	rec, err := cluster.DecodeStoreRecord(kv.Value)
	if err != nil {
		a.log.Error("unreadable store record", "store", coord.NameOf(kv.Key), "err", err)
		return
	}
	for _, ref := range rec.Slots {
		if ref.Machine == a.cfg.Machine {
			if r := a.ensure(ctx, rec, ref); r != nil {
				r.RecordSeen(rec, kv.Rev, coordRev)
			}
		}
	}
	a.retire(rec)
}

// ensure returns the running slot of ref, opening or creating it; nil if it cannot be.
func (a *Agent) ensure(ctx context.Context, rec cluster.StoreRecord, ref cluster.SlotRef) *running {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.slots[ref.Slot]; r != nil {
		return r
	}
	cfg := a.slotConfig(rec.Store, ref.Slot)
	_, err := slot.Inspect(cfg.FS, cfg.Meta, cfg.Spool)
	if errors.Is(err, slot.ErrNoSlot) {
		// A slot that was never relied on is new. One that was and is not here is
		// lost: an empty directory must not take its name.
		if ref.Counter != 0 || rec.IsInSync(ref.Slot) {
			a.lose(rec.Store, ref.Slot, fmt.Sprintf("the record knows this slot, and %s does not exist: not mounted, or wiped", cfg.Meta))
			return nil
		}
		err = slot.Create(cfg)
	}
	if err != nil {
		a.lose(rec.Store, ref.Slot, err.Error())
		return nil
	}
	delete(a.lost, ref.Slot)
	return a.run(ctx, cfg)
}

func (a *Agent) lose(store cluster.Store, id cluster.SlotID, why string) {
	if _, known := a.lost[id]; !known {
		a.log.Error("slot cannot be opened", "store", store, "slot", id.String(), "err", why)
		a.lost[id] = lostSlot{store, why}
	}
}

// run is called with the lock held.
func (a *Agent) run(ctx context.Context, cfg slot.Config) *running {
	ctx, cancel := context.WithCancel(ctx)
	r := &running{Slot: slot.New(cfg), store: cfg.Store, id: cfg.Slot, cancel: cancel}
	a.slots[cfg.Slot], a.stores[cfg.Store] = r, r
	a.wg.Add(1)
	go func() {
		defer a.wg.Done()
		if err := r.Run(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("slot ended", "store", cfg.Store, "slot", cfg.Slot.String(), "err", err)
		}
	}()
	return r
}

// retire stops slots of the store that the record no longer names. Their data
// stays where it is.
func (a *Agent) retire(rec cluster.StoreRecord) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, r := range a.slots {
		if r.store == rec.Store && !rec.Has(id) {
			a.log.Warn("slot is no longer part of its store; it is closed, its data kept", "store", rec.Store, "slot", id.String())
			r.cancel()
			delete(a.slots, id)
			if a.stores[rec.Store] == r {
				delete(a.stores, rec.Store)
			}
		}
	}
	for id, l := range a.lost {
		if l.store == rec.Store && !rec.Has(id) {
			delete(a.lost, id)
		}
	}
}

func (a *Agent) slotConfig(store cluster.Store, id cluster.SlotID) slot.Config {
	name := fmt.Sprintf("%s.%s", store, id.String()[:8])
	return slot.Config{
		Cluster: a.cfg.Cluster, Store: store, Slot: id, Machine: a.cfg.Machine,
		Meta: filepath.Join(a.cfg.Meta, "slots", name), Spool: filepath.Join(a.cfg.Spool, "slots", name),
		FS: a.cfg.FS, Disk: a.cfg.Disk, Shared: a.cfg.Shared,
		Records: records{a.cfg.Coord, store}, Peers: peers{a},
		Clock: a.cfg.Clock, Now: a.cfg.Now, Rand: a.cfg.Rand, Log: a.log,
		RefuseDegraded: a.cfg.RefuseDegraded, SegmentSize: a.cfg.SegmentSize, Changed: a.wake,
	}
}

func (a *Agent) wake() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.changed)
	a.changed = make(chan struct{})
}

// Slot returns the slot of store s that runs here.
func (a *Agent) Slot(s cluster.Store) (*slot.Slot, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.stores[s]; r != nil {
		return r.Slot, nil
	}
	return nil, fmt.Errorf("no slot of store %s on machine %s: %w", s, a.cfg.Machine, cluster.ErrNotMaster)
}

// Status is what this machine's agent reports.
type Status struct {
	Machine cluster.Machine
	PID     int
	Slots   []slot.Status
	Lost    []Lost
	// Accuses are machines that something here cannot reach now.
	Accuses []cluster.Machine
	// SyncAge is how long the oldest sync has been waited for: a hanging disk shows here.
	SyncAge time.Duration
}

// follows reports whether slot id runs there and could become master.
func (s Status) follows(id cluster.SlotID) bool {
	for _, x := range s.Slots {
		if x.Slot == id {
			return x.Role == replica.RoleReplica.String() && x.State != slot.StateFailed && x.State != slot.StateFrozen
		}
	}
	return false
}

// Lost is a slot that the record says is here and that cannot be opened.
type Lost struct {
	Store cluster.Store
	Slot  cluster.SlotID
	Why   string
}

// Status never waits for a disk.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	st := Status{Machine: a.cfg.Machine, PID: os.Getpid(), SyncAge: a.cfg.Disk.Outstanding()}
	if a.cfg.Suspects != nil {
		st.Accuses = a.cfg.Suspects()
	}
	for _, r := range a.slots {
		st.Slots = append(st.Slots, r.Slot.Status())
	}
	for id, l := range a.lost {
		st.Lost = append(st.Lost, Lost{l.store, id, l.why})
	}
	return st
}

// Changed returns a channel that is closed when a slot's status next changes.
func (a *Agent) Changed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}
