package replica

import (
	"cmp"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// TickEvery is the longest a runner may wait between two Ticks.
const TickEvery = 50 * time.Millisecond

// Kind is what a slot was created for.
type Kind uint8

// Kinds of slots.
const (
	Full    Kind = iota // may be master
	LogOnly             // journal only: counts for commit, is never promoted
	Async               // follows at a distance: never counts, never joins
)

// Config is what a Core must know before its first event. Zero durations and
// counts mean the defaults of Timing.
type Config struct {
	Cluster string // cluster id; slots of another cluster are refused
	Store   cluster.Store
	Slot    cluster.SlotID
	Kind    Kind
	// MinInSync is the least number of distinct machines a commit needs. 0 means 1.
	MinInSync int
	// RefuseDegraded refuses writes while the recorded set is on one machine
	// although the store has more slots (degraded = refuse).
	RefuseDegraded bool
	Timing         Timing
	// Mutate switches safety rules off. For the simulator only: it shows that
	// each rule is needed. Always zero in a running system.
	Mutate Mutation
}

// Timing holds the protocol's durations. Only their rate is trusted, on a clock
// that also counts while the machine sleeps (CLOCK_BOOTTIME).
type Timing struct {
	Heartbeat  time.Duration // master to replicas, when idle; default 100 ms
	Lease      time.Duration // reads, counted from the send of what was confirmed; 1 s
	LeaseWait  time.Duration // new master, from its own last confirmation; 1.1 s
	Stall      time.Duration // without progress a replica leaves the set; 5 s
	Gone       time.Duration // without any connection it leaves sooner; 1 s
	Alone      time.Duration // a lone master writes this long after a confirmation; 10 s
	Handshake  time.Duration // an unanswered Hello is repeated; 2 s
	Retry      time.Duration // between two questions to coordinator or controller; 500 ms
	Switchover time.Duration // sealed at most this long before the proposal is sent; 2 s
}

func (t Timing) withDefaults() Timing {
	t.Heartbeat = cmp.Or(t.Heartbeat, 100*time.Millisecond)
	t.Lease = cmp.Or(t.Lease, time.Second)
	t.LeaseWait = cmp.Or(t.LeaseWait, 1100*time.Millisecond)
	t.Stall = cmp.Or(t.Stall, 5*time.Second)
	t.Gone = cmp.Or(t.Gone, time.Second)
	t.Alone = cmp.Or(t.Alone, 10*time.Second)
	t.Handshake = cmp.Or(t.Handshake, 2*time.Second)
	t.Retry = cmp.Or(t.Retry, 500*time.Millisecond)
	t.Switchover = cmp.Or(t.Switchover, 2*time.Second)
	return t
}

// newsEvery is the least time between two heartbeats that only tell a new commit.
const newsEvery = TickEvery / 2

const (
	lateBy       = 10 * TickEvery // a Core stepped later than this accuses nobody
	maxInFlight  = 2              // uncommitted batches a master may have appended
	maxApplyLag  = 16 << 20       // octets; a replica further behind stops acknowledging
	maxStarts    = 64             // newest epoch starts kept and sent
	maxProposals = 8              // outstanding proposals of different content
	maxSessions  = 64             // sessions a Core keeps track of
)
