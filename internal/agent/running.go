package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/slot"
)

// running is a slot that the record says is here.
type running struct {
	*slot.Slot
	store  cluster.Store
	id     cluster.SlotID
	cancel context.CancelFunc
	done   chan struct{} // closed when it has closed its files

	// Guarded by Agent.mu.
	found bool   // its data is here
	lost  string // why not, as far as is known
	// fresh: nobody has relied on it, so that it may be made.
	fresh bool
}

// ensure returns the slot of ref, which is opened or created beside the caller.
func (a *Agent) ensure(ctx context.Context, rec cluster.StoreRecord, ref cluster.SlotRef) *running {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.slots[ref.Slot]
	if r == nil {
		r = a.start(ctx, rec.Store, ref.Slot)
	}
	if r.store == rec.Store {
		r.fresh = ref.Counter == 0 && !rec.IsInSync(ref.Slot)
	}
	return r
}

// start is called with the lock held.
func (a *Agent) start(ctx context.Context, store cluster.Store, id cluster.SlotID) *running {
	ctx, cancel := context.WithCancel(ctx)
	cfg := a.slotConfig(store, id)
	r := &running{Slot: slot.New(cfg), store: store, id: id, cancel: cancel, done: make(chan struct{})}
	a.slots[id], a.stores[store] = r, r
	r.RaiseLevel(a.level)
	r.SetRetention(a.retention)
	before := a.closing[id]
	a.wg.Go(func() {
		defer close(r.done)
		defer cancel()
		if before != nil {
			<-before // two that are open at once would be the end of both
		}
		a.run(ctx, r, cfg)
	})
	return r
}

func (a *Agent) run(ctx context.Context, r *running, cfg slot.Config) {
	if !a.find(ctx, r, cfg) {
		return
	}
	if err := r.Run(ctx); err != nil && ctx.Err() == nil {
		a.log.Error("slot ended", "store", r.store, "slot", r.id.String(), "err", err)
	}
}

const (
	firstLook = time.Second
	lastLook  = 30 * time.Second
)

// find returns when the slot's data is there, made if nobody has relied on it:
// at once, or when its disk has been mounted. False when ctx ended before.
func (a *Agent) find(ctx context.Context, r *running, cfg slot.Config) bool {
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		err := a.open(r, cfg)
		if a.note(r, err) {
			return true
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false
		}
	}
}

// note keeps what a look came to, and reports whether the slot is there.
func (a *Agent) note(r *running, err error) bool {
	a.mu.Lock()
	before := r.lost
	r.found, r.lost = err == nil, ""
	if err != nil {
		r.lost = err.Error()
	}
	now := r.lost
	a.mu.Unlock()
	switch {
	case now != "" && now != before:
		a.log.Error("slot cannot be opened", "store", r.store, "slot", r.id.String(), "err", err)
	case now == "" && before != "":
		a.log.Info("slot is there again", "store", r.store, "slot", r.id.String())
	}
	return now == ""
}

// open looks for the slot's data and creates it if that is allowed.
func (a *Agent) open(r *running, cfg slot.Config) error {
	_, err := slot.Inspect(cfg.FS, cfg.Meta, cfg.Spool)
	if err == nil {
		return nil
	}
	// A slot gets its identity last, in meta: without one it is not complete.
	if _, e := slot.Inspect(cfg.FS, cfg.Meta, cfg.Meta); !errors.Is(e, slot.ErrNoSlot) {
		return err
	}
	a.mu.Lock()
	fresh := r.fresh
	a.mu.Unlock()
	if !fresh {
		return fmt.Errorf("the record knows this slot, and its data is not here: not mounted, or wiped: %w", err)
	}
	for _, dir := range []string{cfg.Meta, cfg.Spool} {
		if err := setAside(cfg.FS, dir); err != nil {
			return fmt.Errorf("set aside what a slot that was never completed left: %w", err)
		}
	}
	return slot.Create(cfg)
}

// maxAside bounds what is kept of slots whose creation failed.
const maxAside = 10

// setAside renames a directory that is there: nothing is ever deleted here.
func setAside(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for i := range maxAside {
		to := fmt.Sprintf("%s.unfinished%d", dir, i)
		if _, err := fs.Stat(to); errors.Is(err, os.ErrNotExist) {
			return fs.Rename(dir, to)
		}
	}
	return fmt.Errorf("%s.unfinished0 to %d are there already", dir, maxAside-1)
}

// retire stops slots of the store that the record no longer names. Their data
// stays where it is.
func (a *Agent) retire(rec cluster.StoreRecord) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, r := range a.slots {
		if r.store != rec.Store || rec.Has(id) {
			continue
		}
		a.log.Warn("slot is no longer part of its store; it is closed, its data kept", "store", rec.Store, "slot", id.String())
		r.cancel()
		delete(a.slots, id)
		if a.stores[rec.Store] == r {
			delete(a.stores, rec.Store)
		}
		a.closing[id] = r.done
		a.wg.Go(func() { a.closed(id, r.done) })
	}
}

// closed forgets a retired slot when it has closed.
func (a *Agent) closed(id cluster.SlotID, done <-chan struct{}) {
	<-done
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing[id] == done {
		delete(a.closing, id)
	}
}

func (a *Agent) slotConfig(store cluster.Store, id cluster.SlotID) slot.Config {
	name := fmt.Sprintf("%s.%s", store, id.String()[:8])
	return slot.Config{
		Cluster: a.cfg.Cluster, Store: store, Slot: id, Machine: a.cfg.Machine,
		Meta: filepath.Join(a.cfg.Meta, "slots", name), Spool: filepath.Join(a.cfg.Spool, "slots", name),
		FS: a.cfg.FS, Disk: a.cfg.Disk, SpoolDisk: a.cfg.SpoolDisk, Shared: a.cfg.Shared, Decoder: a.cfg.Decoder,
		Records: records{a.cfg.Coord, store}, Peers: peers{a},
		Clock: a.cfg.Clock, Now: a.cfg.Now, Rand: a.cfg.Rand, Log: a.log,
		RefuseDegraded: a.cfg.RefuseDegraded, SegmentSize: a.cfg.SegmentSize, Level: a.cfg.Level, Apply: a.cfg.Apply,
	}
}
