package slot

import (
	"time"

	"github.com/tandemail/tandemail/internal/latency"
	"github.com/tandemail/tandemail/internal/replica"
)

// Stats are a slot's figures beside its Status, for metrics.
type Stats struct {
	Counts
	Promotions int64          // epochs that this slot began to serve
	Holds      latency.Counts // of writes by this master; those that have ended
	Journal    uint64         // octets that the journal holds; 0 while it is not open
	Packs      PackStats
	// Peers is what a master knows of the other slots, nil for others. Not to be changed.
	Peers []replica.PeerState
}

// Stats never waits for the disk.
func (s *Slot) Stats() Stats {
	st := Stats{Counts: s.Counts(), Promotions: s.counts.promotions.Load(), Holds: s.holds.Counts(), Packs: s.packStats()}
	if inc := s.current(); inc != nil {
		low := inc.journal.Low().LSN // first: the end does not fall below it
		st.Journal = uint64(inc.journal.End().LSN - low)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.Role == replica.RoleMaster.String() {
		st.Peers = s.peers
	}
	return st
}

// newHolds counts from a planned switch, milliseconds, to what a proposal bears.
func newHolds() *latency.Histogram {
	return latency.New(
		time.Millisecond, 2500*time.Microsecond, 5*time.Millisecond, 10*time.Millisecond, 25*time.Millisecond, 50*time.Millisecond,
		100*time.Millisecond, 250*time.Millisecond, 500*time.Millisecond, time.Second, 2500*time.Millisecond, 5*time.Second, 10*time.Second,
	)
}

// beginHold notes that writes are held from now on, if they are not.
func (l *loop) beginHold() {
	if !l.held {
		l.held, l.heldAt = true, l.cfg.Clock()
	}
}

// endHold counts the hold that has ended: this slot serves again, or no more.
func (l *loop) endHold() {
	if l.held {
		l.held = false
		l.holds.Observe(l.cfg.Clock() - l.heldAt)
	}
}
