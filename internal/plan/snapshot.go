package plan

import (
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// Snapshot is what is known of the cluster at one moment. Machines and Stores
// are sorted by name.
type Snapshot struct {
	Settings coord.Settings
	Machines []Machine
	Stores   []Store
	// Recent are the newest actions, the controller's and others', of the last
	// hour at least; of actions without end, those that were begun.
	Recent []Recent
	// Stale: the coordinator cannot be followed since then; zero if it can.
	Stale time.Time
	// Rewound: the coordinator went back to an older state.
	Rewound bool
}

// Machine is one machine and what is said of it.
type Machine struct {
	coord.MachineRecord
	// Leased: its live key is there.
	Leased bool
	Probe  Probe
	// Accusers name observers other than the probe, the lease and the replicas
	// that cannot reach it now: front ends, other candidates.
	Accusers []string
	// Slots as its agent reported them at StatusAt; zero StatusAt: never.
	Slots    []SlotStatus
	Tails    []Tail
	StatusAt time.Time
}

// Probe is the controller's own look at a machine.
type Probe struct {
	Known    bool // looked at, at least once
	Failures int  // in a row, since Since
	Refused  bool // all of them: its host answered that nobody listens
	Since    time.Time
	UpSince  time.Time // reachable without a break; zero if it is not
}

// Tail is what a forced failover left on a machine and is not brought back yet.
type Tail struct {
	Store cluster.Store
	Text  string // "12 messages are left: ..."
}

// SlotStatus is a slot as its agent reports it.
type SlotStatus struct {
	Slot        cluster.SlotID
	Store       cluster.Store
	Role        string // replica.Role's names
	Incarnation cluster.Incarnation
	Counter     uint64
	Epoch       cluster.Epoch
	Rev         cluster.Rev // of the record that it has seen
	Durable     cluster.LSN
	// Reaches are the slots of its store that it has a session with.
	Reaches []cluster.SlotID
	Empty   bool   // holds nothing and is not being seeded
	Frozen  string // why it does nothing automatic; "" if it does
	Failed  string // why its data may not be used; "" if it may
	Left    bool   // failed since a forced failover left its history: an empty one takes its place
	Damaged string // which bodies it cannot give; "" if there are none
	// BadOp is the operation that it failed at, 0 if it is not that; BadNewer: a newer
	// release wrote it, or the state it has.
	BadOp    cluster.LSN
	BadNewer bool
	Stalled  bool // its disk hangs
	// Closed: on disk, and not open, since no record names it.
	Closed bool
}

// Store is a store's record.
type Store struct {
	cluster.StoreRecord
	Rev cluster.Rev
	// Unreadable is why the record could not be decoded; only the name is set then.
	Unreadable string
	// MasterSince is when the present epoch was first seen (epoch 0: the store), Missing when a slot
	// was first seen outside the in-sync set; zero or absent: long ago.
	MasterSince time.Time
	Missing     map[cluster.SlotID]time.Time
}

// Recent is an action that was begun.
type Recent struct {
	At    time.Time
	Kind  Kind
	Store cluster.Store
	Slot  cluster.SlotID
	Epoch cluster.Epoch // the store's when it was decided
}

// Policy holds the times and caps that decisions use; zero values mean these
// defaults. Settings overrule it where they say something.
type Policy struct {
	RefusedAfter   time.Duration // probes refused for so long accuse; 500 ms
	SilentAfter    time.Duration // probes unanswered for so long accuse; 1 s
	StatusFresh    time.Duration // an agent's answer counts for so long; 1.5 s
	AtOnce         time.Duration // deaths no further apart are "at once"; 1 min
	NominateRetry  time.Duration // before a nomination without effect is repeated; 1 s
	FlapPeriod     time.Duration // in which at most MaxFailovers epochs of a store ...; 1 min
	MaxFailovers   int           // ... may end by nomination; 3
	NewGrace       time.Duration // a new store waits for its preferred slot; 5 s
	SwitchRetry    time.Duration // before a switchover is asked for again; 10 s
	SwitchStuck    time.Duration // after which one that has not happened is a problem; 30 s
	ReseedRetry    time.Duration // 30 s
	ReseedGrace    time.Duration // 1 h
	ReturnAfter    time.Duration // 2 min
	ActionPeriod   time.Duration // 10 min
	MaxSwitchovers int           // 4
}

// For returns p with settings and defaults filled in.
func (p Policy) For(s coord.Settings) Policy {
	override := func(d *time.Duration, set, def time.Duration) {
		switch {
		case set > 0:
			*d = set
		case *d == 0:
			*d = def
		}
	}
	override(&p.RefusedAfter, 0, 500*time.Millisecond)
	override(&p.SilentAfter, 0, time.Second)
	override(&p.StatusFresh, 0, 1500*time.Millisecond)
	override(&p.AtOnce, 0, time.Minute)
	override(&p.NominateRetry, 0, time.Second)
	override(&p.FlapPeriod, 0, time.Minute)
	override(&p.NewGrace, 0, 5*time.Second)
	override(&p.SwitchRetry, 0, 10*time.Second)
	override(&p.SwitchStuck, 0, 30*time.Second)
	override(&p.ReseedRetry, 0, 30*time.Second)
	override(&p.ReseedGrace, s.ReseedGrace, time.Hour)
	override(&p.ReturnAfter, s.ReturnAfter, 2*time.Minute)
	override(&p.ActionPeriod, s.ActionPeriod, 10*time.Minute)
	if p.MaxFailovers == 0 {
		p.MaxFailovers = 3
	}
	if s.MaxSwitchovers > 0 {
		p.MaxSwitchovers = s.MaxSwitchovers
	}
	if p.MaxSwitchovers == 0 {
		p.MaxSwitchovers = 4
	}
	return p
}

// machine finds a machine by name; nil if the cluster does not know it.
func (s *Snapshot) machine(m cluster.Machine) *Machine {
	i, ok := slices.BinarySearchFunc(s.Machines, m, func(a Machine, b cluster.Machine) int {
		switch {
		case a.Machine < b:
			return -1
		case a.Machine > b:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return &s.Machines[i]
}
