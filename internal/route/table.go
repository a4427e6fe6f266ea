// Package route knows which machine serves a store now: a mirror of the stores'
// records and the machines' addresses, fed by the coordinator's watch and by
// what slots say of themselves. Front end and router ask it; it never asks
// anybody, so a look-up costs no round trip and works while the coordinator is
// down.
//
// A route may be out of date: the slot it leads to decides, by its epoch. Who is
// refused comes back to [Table.Await] and is woken by the next change.
//
// Safe for concurrent use.
package route

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// ErrNoMaster: the store has no master now.
var ErrNoMaster = errors.New("no master")

// Route leads to a store's master.
type Route struct {
	Store  cluster.Store
	Master cluster.Machine // "" while nobody is
	Epoch  cluster.Epoch   // the highest seen; a slot behind it must refuse
}

// Table is the mirror. Use New.
type Table struct {
	mu       sync.Mutex
	routes   map[cluster.Store]Route
	machines map[cluster.Machine]coord.MachineRecord
	changed  chan struct{} // closed and replaced at each change
	listed   map[string]bool
	unfed    map[string]time.Time // prefixes that are not being fed, since when
}

// New returns an empty table. Run fills it.
func New() *Table {
	return &Table{
		routes:   map[cluster.Store]Route{},
		machines: map[cluster.Machine]coord.MachineRecord{},
		changed:  make(chan struct{}),
		listed:   map[string]bool{},
		unfed:    map[string]time.Time{},
	}
}

// Run mirrors the coordinator until ctx ends, whose error it returns.
func (t *Table) Run(ctx context.Context, c coord.Coord) error {
	var wg sync.WaitGroup
	for _, prefix := range []string{coord.MachinesPrefix, coord.StoresPrefix} {
		t.fed(prefix, false)
		wg.Go(func() {
			// Its error is ctx's.
			_ = coord.Follow(ctx, c, coord.Following{Prefix: prefix}, func(u coord.Update) {
				t.update(u)
				t.fed(prefix, u.Live)
			})
		})
	}
	wg.Wait()
	return ctx.Err()
}

// fed notes whether the mirror of a prefix is.
func (t *Table) fed(prefix string, live bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, was := t.unfed[prefix]; live {
		delete(t.unfed, prefix)
	} else if !was {
		t.unfed[prefix] = time.Now()
	}
}

// Lookup returns the route to s; false when there is no such store.
func (t *Table) Lookup(s cluster.Store) (Route, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.routes[s]
	return r, ok
}

// Machine returns what is known of m.
func (t *Table) Machine(m cluster.Machine) (coord.MachineRecord, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.machines[m]
	return r, ok
}

// Machines returns what is known of all, by name.
func (t *Table) Machines() []coord.MachineRecord {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]coord.MachineRecord, 0, len(t.machines))
	for _, r := range t.machines {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b coord.MachineRecord) int { return cmp.Compare(a.Machine, b.Machine) })
	return out
}

// Listed reports whether the machines have been listed once: before, that one is
// not known says nothing.
func (t *Table) Listed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.listed[coord.MachinesPrefix]
}

// Unfed returns since when the coordinator has not been followed, zero if it is: what
// is known here may be as old as that.
func (t *Table) Unfed() (since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, at := range t.unfed {
		if since.IsZero() || at.Before(since) {
			since = at
		}
	}
	return since
}

// Changed is closed at the next change of anything here.
func (t *Table) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// Learn takes what a slot said: a later epoch than ours wins over the mirror.
func (t *Table) Learn(r Route) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, ok := t.routes[r.Store]; ok && r.Epoch > old.Epoch {
		t.routes[r.Store] = r
		t.wake()
	}
}

// Await returns as soon as the route to s differs from tried, and otherwise after
// pause: the same master may have become ready meanwhile. The error is ctx's.
func (t *Table) Await(ctx context.Context, tried Route, pause time.Duration) (Route, error) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		t.mu.Lock()
		now, changed := t.routes[tried.Store], t.changed
		t.mu.Unlock()
		if now != tried && now.Master != "" {
			return now, nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return now, nil
		case <-ctx.Done():
			return now, ctx.Err()
		}
	}
}

// Ready waits until stores and machines have been listed once.
func (t *Table) Ready(ctx context.Context) error {
	for {
		t.mu.Lock()
		ready, changed := t.listed[coord.StoresPrefix] && t.listed[coord.MachinesPrefix], t.changed
		t.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wake is called with the lock held.
func (t *Table) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *Table) update(u coord.Update) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u.Listed != "" {
		t.replace(u.Listed, u.All)
		t.listed[u.Listed] = true
	}
	for _, c := range u.Changes {
		if c.Deleted {
			t.remove(c.Key)
		} else {
			t.set(c.KV)
		}
	}
	t.wake()
}

func (t *Table) replace(prefix string, all []coord.KV) {
	if prefix == coord.StoresPrefix {
		clear(t.routes)
	} else {
		clear(t.machines)
	}
	for _, kv := range all {
		t.set(kv)
	}
}

func (t *Table) remove(key string) {
	if m := cluster.Machine(coord.NameOf(key)); key == coord.MachineKey(m) {
		delete(t.machines, m)
		return
	}
	delete(t.routes, cluster.Store(coord.NameOf(key)))
}

// set takes a value; one that cannot be read leaves what was known.
func (t *Table) set(kv coord.KV) {
	if m := cluster.Machine(coord.NameOf(kv.Key)); kv.Key == coord.MachineKey(m) {
		if r, err := coord.Decode[coord.MachineRecord](kv); err == nil {
			t.machines[m] = r
		}
		return
	}
	rec, err := cluster.DecodeStoreRecord(kv.Value)
	if err != nil {
		return
	}
	if old := t.routes[rec.Store]; rec.Epoch >= old.Epoch {
		t.routes[rec.Store] = Route{rec.Store, rec.MachineOf(rec.Master), rec.Epoch}
	}
}

// Stores returns the routes of all stores, in no order.
func (t *Table) Stores() []Route {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Route, 0, len(t.routes))
	for _, r := range t.routes {
		out = append(out, r)
	}
	return out
}
