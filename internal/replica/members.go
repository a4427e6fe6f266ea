package replica

import (
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// aloneAsk is the question to the other machines that precedes going alone.
type aloneAsk struct {
	peer    cluster.SlotID
	asked   time.Duration
	waiting bool
	granted bool
	yield   time.Duration // handed over: hold until then
}

// yielding: others reach the replica, and the controller will let it take over.
func (m *master) yielding(now time.Duration) bool {
	return m.ask != nil && now < m.ask.yield
}

// settleMembers keeps the recorded set true: one change at a time, each a
// compare-and-swap.
func (c *Core) settleMembers() {
	m := c.master
	if m == nil {
		return
	}
	c.heedWish()
	c.settleSeal()
	stalled := c.stalled()
	if m.ask != nil && !m.yielding(c.now) && (c.frozen != nil || !slices.Contains(stalled, m.ask.peer)) {
		m.ask = nil
		c.unhold()
	}
	if m.seal != nil || !c.mayPropose() {
		return
	}
	switch next := c.nextRecord(stalled); {
	case next != nil:
		c.propose(*next)
	case len(c.coord.proposals) > 0:
		// Nothing to change, but an old proposal may still take effect: any
		// success at this revision rules it out.
		c.propose(c.coord.record)
	}
}

// nextRecord is the most urgent change of the record, nil if there is none.
func (c *Core) nextRecord(stalled []cluster.SlotID) *cluster.StoreRecord {
	if r := c.withoutStalled(stalled); r != nil {
		return r
	}
	if r := c.withCounters(); r != nil {
		return r
	}
	if r := c.withoutForced(); r != nil {
		return r
	}
	return c.withJoiner()
}

// withoutForced is the record without the mark of a forced epoch, once that epoch
// serves: then its fork is committed, and whoever was master before is over.
func (c *Core) withoutForced() *cluster.StoreRecord {
	if c.coord.record.Forced == 0 || !c.master.serving {
		return nil
	}
	r := c.coord.record.Clone()
	c.endForced(&r)
	return &r
}

// endForced notes in r that the forced epoch serves, and where it left the history
// before it.
func (c *Core) endForced(r *cluster.StoreRecord) {
	if r.Forced == 0 {
		return
	}
	for _, s := range c.log.starts {
		if s.Epoch >= r.Forced {
			r.Forks[len(r.Forks)-1].LSN = s.LSN
			break
		}
	}
	r.Forced = 0
}

// stalled are the members of the recorded set that made no progress for Stall, or
// that nothing connects us with for Gone: a killed machine is not a slow one.
func (c *Core) stalled() []cluster.SlotID {
	var out []cluster.SlotID
	t := c.cfg.Timing
	for i := range c.master.peers {
		p := &c.master.peers[i]
		if c.newestSession(p.slot) != 0 {
			p.connected = c.now
		}
		if c.coord.record.IsInSync(p.slot) && (p.lost || c.now >= p.progress+t.Stall || c.now >= p.connected+t.Gone) {
			out = append(out, p.slot)
		}
	}
	return out
}

// withoutStalled is the record without the stalled slots (rule: leaving the
// set). They are required until the change is known. A set below MinInSync
// commits nothing more than its epoch start, but others can join it.
func (c *Core) withoutStalled(stalled []cluster.SlotID) *cluster.StoreRecord {
	if len(stalled) == 0 {
		return nil
	}
	r := c.coord.record.Clone()
	r.InSync = slices.DeleteFunc(r.InSync, func(id cluster.SlotID) bool { return slices.Contains(stalled, id) })
	if len(r.InSync) == 1 && !c.mayGoAlone(stalled[0]) {
		return nil
	}
	return &r
}

// mayGoAlone asks the other machines first: if they reach the replica, this
// machine is the limping one. A copy that lost octets is no question.
func (c *Core) mayGoAlone(id cluster.SlotID) bool {
	m := c.master
	if p := m.peer(id); p.lost {
		return true
	}
	if m.ask == nil || m.ask.peer != id {
		m.ask = &aloneAsk{peer: id}
	}
	a := m.ask
	if a.granted {
		return true
	}
	if !a.waiting && !m.yielding(c.now) && (a.asked == 0 || c.now >= a.asked+c.cfg.Timing.Retry) {
		a.waiting, a.asked = true, c.now
		c.emit(AskController{Peer: id})
	}
	return false
}

func (c *Core) onControllerAnswered(e ControllerAnswered) {
	if c.master == nil || c.master.ask == nil || !c.master.ask.waiting {
		return
	}
	a := c.master.ask
	a.waiting = false
	switch e.Verdict {
	case GoAlone:
		a.granted = true
		c.unhold()
	case HandOver:
		a.yield = c.now + c.cfg.Timing.Alone
		c.hold("handing over: others reach the replica")
	case NoVerdict:
		c.unhold()
	}
}

// withCounters is the record with the open counters of members that came back
// as new incarnations; until it is known, they do not count.
func (c *Core) withCounters() *cluster.StoreRecord {
	r := c.coord.record.Clone()
	changed := false
	for i := range c.master.peers {
		p := &c.master.peers[i]
		ref, _ := r.Ref(p.slot)
		if p.streaming && !p.lost && r.IsInSync(p.slot) && p.counter > ref.Counter {
			c.setCounter(&r, p.slot, p.counter)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return &r
}

// withJoiner is the record with one more slot (rule: joining).
func (c *Core) withJoiner() *cluster.StoreRecord {
	if !c.started() {
		return nil
	}
	for i := range c.master.peers {
		p := &c.master.peers[i]
		if !c.joins(p) {
			continue
		}
		r := c.coord.record.Clone()
		r.InSync = append(r.InSync, p.slot)
		c.setCounter(&r, p.slot, p.counter)
		return &r
	}
	return nil
}

// joins reports whether p may be proposed for the set: a full and whole (or
// log-only) copy, durable past our epoch-start record and past commit.
func (c *Core) joins(p *peer) bool {
	if !p.streaming || c.coord.record.IsInSync(p.slot) {
		return false
	}
	if c.mutated(JoinUnchecked) {
		return true
	}
	return p.health == Whole && p.kind != Async && !p.lost &&
		p.durable >= c.master.startEnd && p.durable >= c.log.commit &&
		c.now < p.progress+c.cfg.Timing.Stall
}
