package slot

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
)

// States of a slot as people see it.
const (
	StateOpening  = "opening"
	StateOK       = "ok"
	StateCatching = "catching up"
	StateSeeding  = "seeding" // is being made a copy of the master
	StateFrozen   = "frozen"
	StateFailed   = "failed"
)

// Status is what a slot says of itself. It never waits for the disk.
type Status struct {
	Store       cluster.Store
	Slot        cluster.SlotID
	Role        string // of replica.Role
	State       string
	Reason      string
	Fault       *Fault // the operation it failed at, if it is that
	Left        bool   // failed because a forced failover left its history
	Incarnation cluster.Incarnation
	Counter     uint64
	Epoch       cluster.Epoch // served as master, or adopted
	Serving     bool          // takes writes
	Low         cluster.LSN   // of the journal: what is below is not held
	End         cluster.LSN
	EndEpoch    cluster.Epoch // of the last batch
	Durable     cluster.LSN
	Commit      cluster.LSN
	Applied     cluster.LSN
	Record      cluster.StoreRecord // as this slot knows it
	Rev         cluster.Rev
	CoordRev    cluster.Rev // the highest that was seen of the coordinator
	// Reaches are the slots this one has a replication session with.
	Reaches []cluster.SlotID
	// PendingOps waits to be appended or applied.
	PendingOps int
	// SnapshotLSN is the position of the newest snapshot, 0 if there is none, and
	// SnapshotAt when it was taken.
	SnapshotLSN cluster.LSN
	SnapshotAt  time.Time
	// Settled: what the journal has below it is needed by this copy's index and bodies
	// no more, but for chunks whose operation is still to come. 0 until that is known after an open.
	Settled cluster.LSN
	// Damaged are bodies that this copy cannot give, at most 1,000. Not to be changed.
	Damaged []Damaged
}

// counters are cumulative; metrics read them.
type counters struct {
	operations atomic.Int64
	deliveries atomic.Int64
	batches    atomic.Int64
	promotions atomic.Int64
	moved      atomic.Int64
	dead       atomic.Int64
	collected  atomic.Int64
	scrubbed   atomic.Int64
	repaired   atomic.Int64
}

// Counts are what a slot has done since New, as master.
type Counts struct {
	Operations int64 // proposed
	Deliveries int64 // recipients of deliveries, refused ones too
	Batches    int64 // of the journal; Operations/Batches is what shares a sync
}

// Counts returns the counters.
func (s *Slot) Counts() Counts {
	return Counts{s.counts.operations.Load(), s.counts.deliveries.Load(), s.counts.batches.Load()}
}

// Status returns the newest status.
func (s *Slot) Status() Status {
	lost := s.damaged.list()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Damaged = lost
	return st
}

func (s *Slot) setStatus(change func(*Status)) {
	s.mu.Lock()
	change(&s.status)
	s.mu.Unlock()
	if s.cfg.Changed != nil {
		s.cfg.Changed()
	}
}

// noteStatus copies what people want to know out of the protocol.
func (l *loop) noteStatus() {
	v := l.core.State()
	l.Slot.mu.Lock()
	st := &l.status
	before := *st // Reaches is replaced, never changed
	st.Role, st.Epoch, st.Serving = v.Role.String(), v.Epoch, l.serving.master() != 0
	st.Incarnation, st.Counter = l.number, l.id.Opens
	st.Low = l.journal.Low().LSN
	st.End, st.EndEpoch, st.Durable, st.Commit, st.Applied = v.End.LSN, v.End.Epoch, v.Durable, v.Commit, v.Applied
	st.Settled = cluster.LSN(l.settled.Load())
	st.Record, st.Rev, st.CoordRev = v.Record, v.Rev, v.CoordRev
	st.State, st.Reason, st.Fault = StateOK, "", nil
	l.Slot.peers = v.Peers
	waiting, _ := l.queue.waits()
	st.Reaches, st.PendingOps = l.sessions.reaches(), waiting+l.pending.len()
	switch fault := l.fault.Load(); {
	case fault != nil:
		st.State, st.Reason, st.Fault = StateFailed, (*fault).Error(), faultOf(*fault)
	case l.problem != nil:
		st.State, st.Reason = StateFrozen, l.problem.String()
	case v.Role == replica.RoleIdle:
		st.State = StateOpening
	case v.Role != replica.RoleMaster && !v.Record.IsInSync(l.cfg.Slot):
		st.State = StateCatching
	}
	changed := before.Role != st.Role || before.Epoch != st.Epoch || before.State != st.State || before.Serving != st.Serving ||
		before.Rev != st.Rev || !slices.Equal(before.Reaches, st.Reaches)
	l.Slot.mu.Unlock()
	if changed && l.cfg.Changed != nil {
		l.cfg.Changed()
	}
}
