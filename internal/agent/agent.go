// Package agent runs the slots of one machine: those that the stores' records
// say are here. It opens and creates them, passes on what the coordinator shows,
// takes the connections of their partners, and answers other machines'
// questions about them (docs/protocol/agent.md).
//
// It decides nothing about who is master: the controller nominates, the slots'
// protocol decides. It deletes nothing: what a record no longer names is closed
// and its data kept, and a store whose record vanished is left as it runs, since
// a coordinator that was wiped looks the same.
//
// What holds:
//
//   - A slot that the record relied on is never made anew: an empty directory is
//     not mounted, or lost.
//   - A slot whose disk hangs stops no other and no answer: each is opened by its
//     own goroutine, and no disk is touched under the lock.
//   - Questions are answered within the time of their method.
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
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/tail"
)

// Config of an Agent. All but the last eight are required.
type Config struct {
	Cluster string
	Machine cluster.Machine
	Meta    string // the machine's directory on the fast disk
	Spool   string // and on the big one
	FS      vfs.FS
	Disk    *disk.Disk // of the device that Meta is on
	Shared  *index.Shared
	Decoder *pack.Decoder // of packs, shared too; nil: each slot has one
	Coord   coord.Coord
	Remote  *Remote // other machines' agents
	// Dial opens a connection of its own to the replica service of machine m.
	Dial  func(ctx context.Context, m cluster.Machine, hello []byte) (net.Conn, error)
	Clock func() time.Duration
	Now   func() time.Time
	Rand  io.Reader
	Log   *slog.Logger
	// SpoolDisk is of the device that Spool is on; nil: the same.
	SpoolDisk *disk.Disk
	// Suspects, if set, names machines that this machine cannot reach.
	Suspects func() []cluster.Machine
	// RefuseDegraded: see slot.Config.
	RefuseDegraded bool
	SegmentSize    int64
	Level          cluster.Level  // see slot.Config
	Apply          slot.ApplyFunc // see slot.Config
	// Redeliver and Owner are for what forced failovers left: see tail.Cluster. Without
	// them it stays where it is.
	Redeliver func(ctx context.Context, s cluster.Store, d slot.Delivery) (tail.Result, error)
	Owner     func(ctx context.Context, account mail.AccountID) (tail.Owner, error)
}

// Agent runs the slots. Use New.
type Agent struct {
	cfg Config
	log *slog.Logger

	mu      sync.Mutex
	slots   map[cluster.SlotID]*running
	stores  map[cluster.Store]*running         // the newest: one slot a store and machine
	closing map[cluster.SlotID]<-chan struct{} // retired and not closed yet
	level   cluster.Level                      // the cluster's, 0 while it is not known
	// retention is how long what was deleted is kept, 0 while it is not known.
	retention time.Duration
	claims    map[cluster.SlotID]slot.Claim // of what is on the disks, as of the start
	records   map[cluster.Store]cluster.StoreRecord
	tails     map[tailKey]kept
	bodies    chan struct{} // full while as many are sent as may be
	wg        sync.WaitGroup
}

// New returns an agent that runs nothing yet.
func New(cfg Config) *Agent {
	if cfg.Level == 0 {
		cfg.Level = cluster.CurrentLevel
	}
	return &Agent{
		cfg: cfg, log: cfg.Log, slots: map[cluster.SlotID]*running{}, stores: map[cluster.Store]*running{},
		closing: map[cluster.SlotID]<-chan struct{}{}, records: map[cluster.Store]cluster.StoreRecord{}, tails: map[tailKey]kept{},
		bodies: make(chan struct{}, bodiesAtOnce),
	}
}

// Run follows the stores' records and the cluster's level until ctx ends, whose
// error it returns when every slot has closed.
func (a *Agent) Run(ctx context.Context) error {
	a.wg.Go(a.lookAround)
	a.wg.Go(func() { a.keepTails(ctx) })
	a.wg.Go(func() {
		// Its error is ctx's.
		_ = coord.Follow(ctx, a.cfg.Coord, coord.Following{Prefix: coord.SettingsKey}, a.settings)
	})
	err := coord.Follow(ctx, a.cfg.Coord, coord.Following{Prefix: coord.StoresPrefix}, func(u coord.Update) { a.update(ctx, u) })
	a.wg.Wait()
	return err
}

func (a *Agent) update(ctx context.Context, u coord.Update) {
	for _, kv := range u.All {
		a.record(ctx, kv, u.Rev)
	}
	for _, c := range u.Changes {
		if c.Deleted {
			a.log.Warn("store record was deleted; its slots stay as they are", "store", coord.NameOf(c.Key))
			continue
		}
		a.record(ctx, c.KV, u.Rev)
	}
	if errors.Is(u.Err, coord.ErrRewound) {
		a.log.Error("the coordinator went back to an older state; slots keep what they know", "err", u.Err)
	}
}

// record makes the slots of this store here what the record says.
func (a *Agent) record(ctx context.Context, kv coord.KV, coordRev cluster.Rev) {
	rec, err := cluster.DecodeStoreRecord(kv.Value)
	if err == nil && coord.StoreKey(rec.Store) != kv.Key {
		err = fmt.Errorf("it is of store %s", rec.Store)
	}
	if err != nil {
		a.log.Error("unreadable store record", "store", coord.NameOf(kv.Key), "err", err)
		return
	}
	a.mu.Lock()
	a.records[rec.Store] = rec
	a.mu.Unlock()
	for _, ref := range rec.Slots {
		if ref.Machine != a.cfg.Machine {
			continue
		}
		r := a.ensure(ctx, rec, ref)
		if r.store != rec.Store {
			a.log.Error("store record names another store's slot", "store", rec.Store, "slot", ref.Slot.String())
			continue
		}
		r.RecordSeen(rec, kv.Rev, coordRev)
	}
	a.retire(rec)
}

// Slot returns the slot of store s that runs here. The error is
// cluster.ErrNotMaster: ask elsewhere.
func (a *Agent) Slot(s cluster.Store) (*slot.Slot, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.stores[s]; r != nil && r.found {
		return r.Slot, nil
	}
	return nil, fmt.Errorf("no slot of store %s on machine %s: %w", s, a.cfg.Machine, cluster.ErrNotMaster)
}
