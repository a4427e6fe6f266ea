package replica

import (
	"fmt"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// nomination is a controller's wish that this slot become master. Giving it up
// is always safe; a proposal of ours that takes effect later still appoints us.
type nomination struct {
	forced bool
	off    bool
	read   bool          // a linearizable read was answered since
	epoch  cluster.Epoch // that it showed
	rev    cluster.Rev   // of the coordinator when the controller decided
	expect cluster.Rev   // of the record, for a forced one
	// rewound: the coordinator showed less than that.
	rewound bool
}

// onNominate begins a candidature (rule: promotion).
func (c *Core) onNominate(e Nominate) {
	if why := c.unfit(); why != "" {
		c.emit(Told{Text: "nomination refused: " + why})
		return
	}
	c.follow.nominated = &nomination{forced: e.Forced, off: e.OldIsOff, rev: e.CoordRev, expect: e.Rev}
	c.coord.wantRead, c.coord.notBefore = true, c.now
	c.become(RoleCandidate)
}

func (c *Core) unfit() string {
	switch {
	case !roles[c.role].promote:
		return "role " + c.role.String()
	case c.frozen != nil:
		return "frozen: " + c.frozen.String()
	case c.cfg.Kind != Full:
		return "an asynchronous or log-only copy is never master"
	case c.health != Whole:
		return "its data is not whole"
	}
	return ""
}

// nominationNeedsRead: the decision needs a record no older than the nomination.
func (c *Core) nominationNeedsRead() bool {
	n := c.follow.nominated
	return n != nil && !n.read
}

func (c *Core) nominationRead() {
	if n := c.follow.nominated; n != nil {
		if !n.read {
			n.read, n.epoch = true, c.coord.record.Epoch
			n.rewound = c.coord.coordRev < n.rev && !c.mutated(TrustRewound)
		}
	}
}

// nominationUnread gives a nomination up whose read failed: the controller will
// nominate again, if it still finds what it found on the coordinator of now.
func (c *Core) nominationUnread() {
	if n := c.follow.nominated; n != nil && !n.read {
		c.dropNomination("the coordinator did not answer")
	}
}

func (c *Core) dropNomination(why string) {
	c.follow.nominated = nil
	c.become(c.following())
	c.emit(Told{Text: "nomination given up: " + why})
}

// settleCandidate proposes itself, again after every unknown outcome, until the
// record says yes or makes it impossible.
func (c *Core) settleCandidate() {
	n := c.follow.nominated
	if n == nil || c.role != RoleCandidate || !n.read || c.appointed() {
		return
	}
	if why := c.ineligible(n); why != "" {
		c.dropNomination(why)
		return
	}
	if c.mayPropose() {
		c.propose(c.takeover(n))
	}
}

// ineligible: invariant 7, and a slot that is in the set has everything.
func (c *Core) ineligible(n *nomination) string {
	r := c.coord.record
	switch {
	case c.frozen != nil:
		return "frozen: " + c.frozen.String()
	case n.rewound:
		return fmt.Sprintf("the controller saw revision %d of the coordinator, which has gone back", n.rev)
	case r.Epoch != n.epoch:
		return fmt.Sprintf("epoch %d has begun", r.Epoch)
	case n.expect != 0 && c.coord.rev != n.expect:
		return fmt.Sprintf("the record changed since the forced failover was decided: revision %d, decided on %d", c.coord.rev, n.expect)
	case n.forced && len(r.Forks) >= cluster.MaxForks:
		return fmt.Sprintf("the store has been forced %d times, and no store may be more often", len(r.Forks))
	case r.Epoch == 0 && c.log.end.LSN != 0:
		return "the store is new but this journal is not empty"
	case r.Epoch != 0 && !n.forced && !r.IsInSync(c.cfg.Slot):
		return fmt.Sprintf("not in the in-sync set of epoch %d", r.Epoch)
	}
	return ""
}

// takeover is the record that makes this incarnation master. The old master, if
// it is another slot, leaves the set with it: it is dead or cut off, else the
// controller would have asked it to hand over. A forced epoch that never served
// stays forced: its fork record may be lost, and the wait for the old master is
// not over.
func (c *Core) takeover(n *nomination) cluster.StoreRecord {
	r := c.coord.record.Clone()
	if n.forced && !r.IsInSync(c.cfg.Slot) {
		r.InSync, r.Forced = []cluster.SlotID{c.cfg.Slot}, r.Epoch+1
		r.Forks = append(r.Forks, cluster.Fork{Epoch: r.Forced})
	} else {
		if c.mutated(ForgetForced) {
			r.Forced = 0
		}
		if r.Master != c.cfg.Slot {
			r.InSync = slices.DeleteFunc(r.InSync, func(id cluster.SlotID) bool { return id == r.Master })
		}
		if len(r.InSync) == 0 {
			r.InSync = []cluster.SlotID{c.cfg.Slot} // the first master of a store
		}
	}
	// An epoch is one incarnation of one master: it rises for a restarted one too.
	if !c.mutated(KeepEpochOnRestart) || r.Master != c.cfg.Slot {
		r.Epoch++
	}
	r.Master, r.Incarnation = c.cfg.Slot, c.incarnation
	if r.Want == c.cfg.Slot {
		r.Want = cluster.SlotID{}
	}
	c.setCounter(&r, c.cfg.Slot, c.counter)
	return r
}

// setCounter records the open counter that is relied on from now on.
func (c *Core) setCounter(r *cluster.StoreRecord, id cluster.SlotID, counter uint64) {
	for i := range r.Slots {
		if r.Slots[i].Slot == id {
			r.Slots[i].Counter = max(r.Slots[i].Counter, counter)
		}
	}
}

// settleRole steps down before a higher epoch, and starts as master once the
// record names this incarnation and its epoch is durable.
func (c *Core) settleRole() {
	if m := c.master; m != nil && c.epochs.promised > m.epoch {
		c.stepDown()
	}
	if c.master != nil || !roles[c.role].promote {
		return
	}
	switch l := &c.log; {
	case !c.appointed() || !c.actsIn(c.coord.record.Epoch) || l.appending > 0 || c.follow.truncating:
	case !c.stale():
		c.startMaster()
	case !l.syncing:
		c.follow.truncating = true
		c.emit(Truncate{To: l.commit})
	}
}

// stale: a forced master that has nothing of the epoch before may have a tail that
// was never committed, while others were at its place. It would commit before the
// fork and use numbers twice: it is kept aside like that of an old master. A tail
// of the epoch before is a part of the only history that went on there.
func (c *Core) stale() bool {
	return c.log.end.Epoch+1 < c.coord.record.Forced && c.log.end.LSN > c.log.commit && !c.mutated(KeepStaleTail)
}

// appointed: the record names this very incarnation.
func (c *Core) appointed() bool {
	return c.coord.record.Master == c.cfg.Slot && c.coord.record.Incarnation == c.incarnation
}

func (c *Core) stepDown() {
	c.emit(ReadLease{})
	c.emit(StopServing{Reason: fmt.Sprintf("epoch %d has begun", c.epochs.promised)})
	for i := range c.master.peers {
		if p := &c.master.peers[i]; p.streaming {
			c.emit(StopStream{Session: p.session})
			c.send(p.session, Record{Rev: c.coord.rev, Record: c.coord.record})
		}
	}
	c.master = nil
	c.become(c.following())
}

func (c *Core) startMaster() {
	forced := c.coord.record.Forced != 0
	off := c.follow.nominated != nil && c.follow.nominated.off
	c.follow = follow{streams: c.follow.streams}
	c.become(RoleMaster)
	c.master = &master{
		epoch:   c.coord.record.Epoch,
		serveAt: c.firstOK(forced, off),
	}
	c.keepPeers()
	c.appendRecord(true)
}

// firstOK is when a new master may answer its first OK: after every read lease
// of an earlier master has ended. A sealed master has given its lease back; a
// store of one slot never had another master.
func (c *Core) firstOK(forced, off bool) time.Duration {
	t := c.cfg.Timing
	switch {
	case c.mutated(SkipLeaseWait), c.coord.sealed == c.coord.record.Epoch, len(c.coord.record.Slots) == 1:
		return c.now
	case forced && !off && !c.mutated(SkipForcedWait):
		return c.now + t.Alone + t.Alone/10
	}
	return c.vouched + t.LeaseWait
}

// appendRecord journals the record: every change of epoch, master or set is in
// the journal too, so that a wiped coordinator can be recovered from the slots.
func (c *Core) appendRecord(start bool) {
	c.log.appending++
	c.emit(AppendRecord{Epoch: c.master.epoch, Start: start, Record: c.coord.record, Rev: c.coord.rev})
}
