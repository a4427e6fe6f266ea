package replica

import (
	"errors"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Reasons why CanAppend says no. What was not appended may be answered "try
// again" at once.
var (
	ErrHeld     = errors.New("held: a switchover or handover is under way")
	ErrWindow   = errors.New("enough batches in flight")
	ErrDegraded = errors.New("store is degraded and set to refuse writes")
	ErrStale    = errors.New("the coordinator has not confirmed this lone master in time")
)

// master is what only a master keeps.
type master struct {
	epoch     cluster.Epoch
	startEnd  cluster.LSN // end of the epoch-start batch; 0 until it is appended
	serveAt   time.Duration
	serving   bool
	held      string        // the reason told with Hold, "" if none
	inFlight  []cluster.LSN // ends of own batches not yet committed
	peers     []peer        // every other slot of the record, in its order
	lease     time.Duration // last ReadLease told
	heartbeat time.Duration // last sent
	stamp     time.Duration // of the newest heartbeat
	told      cluster.LSN   // commit told in heartbeats
	seal      *seal
	wishAfter time.Duration // heed the record's Want again
	ask       *aloneAsk
}

// peer is a master's view of one other slot. What it acknowledged is forgotten
// with the session that carried it.
type peer struct {
	slot        cluster.SlotID
	session     Session // of its last accepted Hello; 0 if none
	stream      uint64
	incarnation cluster.Incarnation
	counter     uint64
	kind        Kind
	health      Health
	space       Space
	locating    bool
	streaming   bool
	lost        bool // in the set, yet short of a commit: it must leave
	durable     cluster.LSN
	reached     cluster.LSN // highest it confirmed in any session: only to see progress
	applied     cluster.LSN
	stamp       time.Duration // newest heartbeat it confirmed
	progress    time.Duration // last time it was level or moved
	connected   time.Duration // last time there was a session with it
}

func (m *master) peer(id cluster.SlotID) *peer {
	for i := range m.peers {
		if m.peers[i].slot == id {
			return &m.peers[i]
		}
	}
	return nil
}

// keepPeers makes the peers those of the record.
func (c *Core) keepPeers() {
	m := c.master
	var peers []peer
	for _, ref := range c.coord.record.Slots {
		switch p := m.peer(ref.Slot); {
		case ref.Slot == c.cfg.Slot:
		case p != nil:
			peers = append(peers, *p)
		default:
			peers = append(peers, peer{slot: ref.Slot, progress: c.now, connected: c.now})
		}
	}
	for i := range m.peers {
		if p := &m.peers[i]; p.streaming && !c.coord.record.Has(p.slot) {
			c.emit(StopStream{Session: p.session})
		}
	}
	m.peers = peers
}

func (m *master) bySession(s Session, stream uint64) *peer {
	for i := range m.peers {
		if p := &m.peers[i]; p.session == s && s != 0 && p.stream == stream {
			return p
		}
	}
	return nil
}

func (m *master) sessionDown(s Session) {
	for i := range m.peers {
		if p := &m.peers[i]; p.session == s {
			p.detach()
		}
	}
}

// excuse gives every other slot the time in which this process did not run: an
// observer that was itself late accuses nobody.
func (c *Core) excuse(gap time.Duration) {
	c.follow.heard += gap
	if c.master != nil {
		for i := range c.master.peers {
			c.master.peers[i].progress += gap
			c.master.peers[i].connected += gap
		}
	}
}

// detach forgets a session: acknowledgements count in the session that carried
// them only, since the slot behind the next one may have lost what it confirmed.
func (p *peer) detach() {
	p.session, p.streaming, p.locating = 0, false, false
	p.durable, p.applied, p.stamp = 0, 0, 0
}

func (m *master) appended(e Appended) {
	if m.startEnd == 0 {
		m.startEnd = e.End.LSN
	}
	m.inFlight = append(m.inFlight, e.End.LSN)
}

// committed drops what is no longer in flight.
func (m *master) committed(commit cluster.LSN) {
	for len(m.inFlight) > 0 && m.inFlight[0] <= commit {
		m.inFlight = m.inFlight[1:]
	}
}

// started reports whether the epoch-start record is committed.
func (c *Core) started() bool {
	return c.master != nil && c.master.startEnd != 0 && c.log.commit >= c.master.startEnd
}

// Space returns the worst space level of this slot and of every slot that is
// required: new octets are refused before any of them is full.
func (c *Core) Space() Space {
	worst := c.space
	for _, id := range c.Required() {
		if p := c.master.peer(id); p != nil {
			worst = max(worst, p.space)
		}
	}
	return worst
}

// InFlight counts the batches of a master that are not committed yet.
func (c *Core) InFlight() int {
	if c.master == nil {
		return 0
	}
	return len(c.master.inFlight)
}

// AwaitsApplied reports whether a master waits for its own start to be applied
// before it serves. Otherwise it suffices that Applied comes with the next Tick.
func (c *Core) AwaitsApplied() bool { return c.master != nil && !c.master.serving }

// CanAppend reports whether the runner may append a batch of proposals now, and
// if not, why: cluster.ErrNotMaster or one of this package's reasons.
func (c *Core) CanAppend(now time.Duration) error {
	now = max(now, c.now)
	m := c.master
	switch {
	case m == nil || !m.serving:
		return cluster.ErrNotMaster
	case m.held != "":
		return fmt.Errorf("%s: %w", m.held, ErrHeld)
	case c.staleAlone(now):
		return ErrStale
	case c.cfg.RefuseDegraded && c.degraded():
		return ErrDegraded
	case len(m.inFlight) >= maxInFlight || c.log.appending > 0:
		return ErrWindow
	}
	return nil
}

// degraded: the recorded set is on one machine, though the store has more slots.
func (c *Core) degraded() bool {
	return len(c.coord.record.Slots) > 1 && c.machines(c.coord.record.InSync) < 2
}

// machines counts the distinct machines of a set.
func (c *Core) machines(set []cluster.SlotID) int {
	seen := map[cluster.Machine]bool{}
	for _, id := range set {
		seen[c.coord.record.MachineOf(id)] = true
	}
	return len(seen)
}

// staleAlone: a lone master of a store that has more slots works only while the
// coordinator confirmed its record within the Alone time, counted from the send.
func (c *Core) staleAlone(now time.Duration) bool {
	return len(c.coord.record.Slots) > 1 && c.alone() && now >= c.coord.confirmed+c.cfg.Timing.Alone && !c.mutated(AloneForEver)
}

// loneNeedsRead keeps that confirmation fresh.
func (c *Core) loneNeedsRead() bool {
	return c.master != nil && len(c.coord.record.Slots) > 1 && c.alone() &&
		c.now >= c.coord.confirmed+c.cfg.Timing.Alone/4
}

// settleServing begins to serve: own epoch start committed and applied, every
// earlier read lease over.
func (c *Core) settleServing() {
	m := c.master
	if m == nil || m.serving || !c.started() || c.log.applied < m.startEnd || c.now < m.serveAt {
		return
	}
	m.serving = true
	c.emit(Serve{Epoch: m.epoch})
}

func (c *Core) hold(reason string) {
	if c.master.held == "" {
		c.master.held = reason
		c.emit(Hold{Reason: reason})
	}
}

func (c *Core) unhold() {
	if c.master.held != "" {
		c.master.held = ""
		c.emit(Serve{Epoch: c.master.epoch})
	}
}

// settleHeartbeat tells the replicas the commit: with the next batch if one comes
// soon, by itself when nothing else is on its way to them, and now and then anyway.
// Nobody waits for a replica to know: it is for what it would have to do first if it
// were promoted.
func (c *Core) settleHeartbeat() {
	m := c.master
	if m == nil {
		return
	}
	due := c.now >= m.heartbeat+c.cfg.Timing.Heartbeat
	news := c.log.commit > m.told && c.log.commit == c.log.end.LSN && c.now >= m.heartbeat+newsEvery
	if !due && !news {
		return
	}
	m.heartbeat, m.stamp, m.told = c.now, c.now, c.log.commit
	for i := range m.peers {
		if p := &m.peers[i]; p.streaming {
			c.send(p.session, Heartbeat{Stream: p.stream, Epoch: m.epoch, Commit: c.log.commit, Stamp: c.now})
		}
	}
}
