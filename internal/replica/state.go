package replica

import (
	"fmt"
	"strings"

	"github.com/tandemail/tandemail/internal/cluster"
)

// State is a copy of what a Core knows, for status, tests and the simulator.
type State struct {
	Role        Role
	Epoch       cluster.Epoch // adopted, durable
	Record      cluster.StoreRecord
	Rev         cluster.Rev
	CoordRev    cluster.Rev
	End         cluster.Position
	Durable     cluster.LSN
	Commit      cluster.LSN
	Applied     cluster.LSN
	Incarnation cluster.Incarnation
	Counter     uint64
	Kind        Kind
	Health      Health
	Serving     bool
	Held        string
	Streaming   bool // replica: its journal is a prefix of the master's
	Required    []cluster.SlotID
	Peers       []PeerState
	Frozen      *Problem
}

// PeerState is a master's view of another slot.
type PeerState struct {
	Slot      cluster.SlotID
	Streaming bool
	Durable   cluster.LSN
	Applied   cluster.LSN
	Space     Space
}

// State returns a copy of the present state.
func (c *Core) State() State {
	s := State{
		Role: c.role, Epoch: c.epochs.adopted,
		Record: c.coord.record.Clone(), Rev: c.coord.rev, CoordRev: c.coord.coordRev,
		End: c.log.end, Durable: c.log.durable, Commit: c.log.commit, Applied: c.log.applied,
		Incarnation: c.incarnation, Counter: c.counter, Kind: c.cfg.Kind, Health: c.health,
		Streaming: c.follow.streaming, Required: c.Required(), Frozen: c.frozen,
	}
	if m := c.master; m != nil {
		s.Serving, s.Held = m.serving, m.held
		for _, p := range m.peers {
			s.Peers = append(s.Peers, PeerState{Slot: p.slot, Streaming: p.streaming, Durable: p.durable, Applied: p.applied, Space: p.space})
		}
	}
	return s
}

// Commit returns the known commit; it goes into the header of every batch.
func (c *Core) Commit() cluster.LSN { return c.log.commit }

// Epoch returns the epoch a master appends under, 0 for other roles.
func (c *Core) Epoch() cluster.Epoch {
	if c.master == nil {
		return 0
	}
	return c.master.epoch
}

// String is one line for scenarios and traces.
func (s State) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v e%d end=%d durable=%d commit=%d applied=%d", s.Role, s.Epoch, s.End.LSN, s.Durable, s.Commit, s.Applied)
	switch {
	case s.Held != "":
		fmt.Fprintf(&b, " held(%s)", s.Held)
	case s.Serving:
		b.WriteString(" serving")
	case s.Streaming:
		b.WriteString(" streaming")
	}
	if s.Frozen != nil {
		fmt.Fprintf(&b, " frozen(%s)", s.Frozen.Code)
	}
	return b.String()
}
