package controller

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/plan"
)

// recentFor is how long actions are remembered; plan asks for an hour.
const recentFor = time.Hour

// world is what a controller knows: mirrors of the coordinator's facts, and what
// its eyes saw. Its lock is never held across I/O.
type world struct {
	now func() time.Time

	mu       sync.Mutex
	machines map[cluster.Machine]*machine
	stores   map[cluster.Store]*plan.Store
	leased   map[cluster.Machine]bool
	settings coord.Settings
	recent   []plan.Recent
	stale    map[string]time.Time // mirrors that are not fed, since when
	rewound  bool
	// generation is the highest of any store: a higher one says that the coordinator
	// was recovered.
	generation uint64
	changed    chan struct{} // buffer of one: look again
}

type machine struct {
	record   coord.MachineRecord
	probe    plan.Probe
	slots    []plan.SlotStatus
	tails    []plan.Tail
	accuses  []cluster.Machine
	statusAt time.Time
	look     chan struct{} // buffer of one: ask its agent now
}

func newWorld(now func() time.Time) *world {
	return &world{
		now: now, machines: map[cluster.Machine]*machine{}, stores: map[cluster.Store]*plan.Store{},
		leased: map[cluster.Machine]bool{}, stale: map[string]time.Time{}, changed: make(chan struct{}, 1),
	}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// mirrors are the prefixes a controller follows, and what to do with their updates.
func (w *world) mirrors() map[string]func(coord.Update) {
	out := map[string]func(coord.Update){}
	for prefix, put := range map[string]func(name string, kv coord.KV, gone bool){
		coord.StoresPrefix: w.putStore, coord.MachinesPrefix: w.putMachine, coord.LivePrefix: w.putLive,
		coord.SettingsKey: w.putSettings, coord.HistoryPrefix: w.putHistory,
	} {
		known := map[string]bool{} // keys, so that a new list can take away
		w.stale[prefix] = w.now()
		out[prefix] = func(u coord.Update) { w.mirror(prefix, u, known, put) }
	}
	return out
}

func (w *world) mirror(prefix string, u coord.Update, known map[string]bool, put func(string, coord.KV, bool)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u.Listed != "" {
		gone := known
		for _, kv := range u.All {
			put(coord.NameOf(kv.Key), kv, false)
			delete(gone, kv.Key)
		}
		for key := range gone {
			put(coord.NameOf(key), coord.KV{Key: key}, true)
		}
		clear(known)
		for _, kv := range u.All {
			known[kv.Key] = true
		}
	}
	for _, c := range u.Changes {
		put(coord.NameOf(c.Key), c.KV, c.Deleted)
		known[c.Key] = true
		if c.Deleted {
			delete(known, c.Key)
		}
	}
	w.rewound = w.rewound || errors.Is(u.Err, coord.ErrRewound)
	if _, was := w.stale[prefix]; u.Live {
		delete(w.stale, prefix)
	} else if !was {
		w.stale[prefix] = w.now()
	}
	signal(w.changed)
}

func (w *world) putStore(name string, kv coord.KV, gone bool) {
	id := cluster.Store(name)
	if gone {
		delete(w.stores, id)
		return
	}
	s := &plan.Store{Rev: kv.Rev, Missing: map[cluster.SlotID]time.Time{}}
	record, err := cluster.DecodeStoreRecord(kv.Value)
	if err == nil && record.Store != id {
		err = errors.New("it is another store's")
	}
	if s.StoreRecord = record; err != nil {
		s.StoreRecord, s.Unreadable = cluster.StoreRecord{Store: id}, err.Error()
	}
	if s.Generation > w.generation {
		w.generation, w.rewound = s.Generation, false
	}
	if s.Epoch == 0 {
		s.MasterSince = w.now()
	}
	if old := w.stores[id]; old != nil {
		if s.MasterSince = old.MasterSince; s.Epoch != old.Epoch {
			s.MasterSince = w.now()
		}
		for _, ref := range s.Slots {
			since, was := old.Missing[ref.Slot]
			switch {
			case s.IsInSync(ref.Slot):
			case was:
				s.Missing[ref.Slot] = since
			case old.IsInSync(ref.Slot):
				s.Missing[ref.Slot] = w.now()
			}
		}
	}
	w.stores[id] = s
}

func (w *world) putMachine(name string, kv coord.KV, gone bool) {
	id := cluster.Machine(name)
	record, err := coord.Decode[coord.MachineRecord](kv)
	if gone || err != nil || record.Machine != id {
		delete(w.machines, id)
		return
	}
	if w.machines[id] == nil {
		w.machines[id] = &machine{look: make(chan struct{}, 1)}
	}
	w.machines[id].record = record
}

func (w *world) putLive(name string, _ coord.KV, gone bool) {
	id := cluster.Machine(name)
	w.leased[id] = !gone
	if m := w.machines[id]; m != nil {
		signal(m.look) // it was restarted, or it is gone
	}
}

func (w *world) putSettings(_ string, kv coord.KV, gone bool) {
	if gone {
		w.settings = coord.Settings{}
		return
	}
	settings, err := coord.Decode[coord.Settings](kv)
	if err != nil {
		settings = coord.Settings{Paused: true, PausedBy: "the controller", PausedReason: "settings cannot be read: " + err.Error()}
	}
	w.settings = settings
}

func (w *world) putHistory(_ string, kv coord.KV, gone bool) {
	if gone {
		return // ends by age here
	}
	if e, err := coord.Decode[coord.HistoryEntry](kv); err == nil && e.Store != "" {
		w.remember(plan.Recent{At: e.At, Kind: plan.Kind(e.Kind), Store: e.Store, Slot: e.To, Epoch: e.Epoch})
	}
}

// remember is called under the lock. An own action comes again as history.
func (w *world) remember(r plan.Recent) {
	w.recent = slices.DeleteFunc(w.recent, func(o plan.Recent) bool {
		return w.now().Sub(o.At) > recentFor || o.At.Equal(r.At) && o.Store == r.Store && o.Kind == r.Kind
	})
	if len(w.recent) < 4*coord.MaxHistory && w.now().Sub(r.At) <= recentFor {
		w.recent = append(w.recent, r)
	}
}

// snapshot is a copy of it all for plan.
func (w *world) snapshot(now time.Time, t Timing) plan.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	snap := plan.Snapshot{Settings: w.settings, Rewound: w.rewound, Recent: slices.Clone(w.recent)}
	for _, since := range w.stale {
		if snap.Stale.IsZero() || since.Before(snap.Stale) {
			snap.Stale = since
		}
	}
	for name, m := range w.machines {
		snap.Machines = append(snap.Machines, plan.Machine{
			MachineRecord: m.record, Leased: w.leased[name], Probe: m.probe, Slots: m.slots, Tails: m.tails, StatusAt: m.statusAt,
			Accusers: w.accusers(name, now, t),
		})
	}
	slices.SortFunc(snap.Machines, func(a, b plan.Machine) int { return cmp.Compare(a.Machine, b.Machine) })
	for _, s := range w.stores {
		snap.Stores = append(snap.Stores, *s)
	}
	slices.SortFunc(snap.Stores, func(a, b plan.Store) int { return cmp.Compare(a.Store, b.Store) })
	return snap
}

// accusers are the machines whose fresh word is that they cannot reach m.
func (w *world) accusers(m cluster.Machine, now time.Time, t Timing) []string {
	var out []string
	for name, o := range w.machines {
		if name != m && slices.Contains(o.accuses, m) && now.Sub(o.statusAt) <= t.StatusFresh {
			out = append(out, string(name))
		}
	}
	slices.Sort(out)
	return out
}

// suspects are the machines that the probe alone would call dead.
func (w *world) suspects(now time.Time, t Timing) []cluster.Machine {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []cluster.Machine
	for name, m := range w.machines {
		after := t.SilentAfter
		if m.probe.Refused {
			after = t.RefusedAfter
		}
		if m.probe.Failures > 1 && now.Sub(m.probe.Since) >= after {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// names are the machines there are now.
func (w *world) names() []cluster.Machine {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]cluster.Machine, 0, len(w.machines))
	for name := range w.machines {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// record is a machine's, and the channel that asks to look at it now.
func (w *world) record(name cluster.Machine) (coord.MachineRecord, <-chan struct{}, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.machines[name]
	if m == nil {
		return coord.MachineRecord{}, nil, false
	}
	return m.record, m.look, true
}
