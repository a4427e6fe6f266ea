package replica

import "github.com/tandemail/tandemail/internal/cluster"

// counted returns the peer if what it acknowledges may be relied on: it streams,
// and the record knows the open counter of the incarnation that speaks, so that
// an older disk of the same slot would be recognised.
func (c *Core) counted(id cluster.SlotID) *peer {
	p := c.master.peer(id)
	if p == nil || p.lost || !p.streaming {
		return nil
	}
	ref, _ := c.coord.record.Ref(id)
	if ref.Counter < p.counter && !c.mutated(IgnoreCounter) {
		return nil
	}
	return p
}

// committable returns the highest LSN that is durable on every slot of every
// set the record may hold, each of them on at least MinInSync machines.
func (c *Core) committable() cluster.LSN {
	lsn := c.log.durable
	enough := true
	for _, set := range c.possibleSets() {
		enough = enough && c.machines(set) >= c.cfg.MinInSync
		for _, id := range set {
			if id == c.cfg.Slot || c.mutated(CommitAlone) {
				continue
			}
			p := c.counted(id)
			if p == nil {
				return 0
			}
			lsn = min(lsn, p.durable)
		}
	}
	if !enough && !c.mutated(IgnoreMinInSync) {
		lsn = c.startOnly(lsn)
	}
	return lsn
}

// startOnly is what a set of too few machines can commit: the epoch start, once
// enough machines hold it in or outside the set. Without it nobody could join.
func (c *Core) startOnly(lsn cluster.LSN) cluster.LSN {
	m := c.master
	holders := []cluster.SlotID{c.cfg.Slot}
	for i := range m.peers {
		if p := &m.peers[i]; p.streaming && !p.lost && p.kind != Async && p.health == Whole && p.durable >= m.startEnd {
			holders = append(holders, p.slot)
		}
	}
	if c.machines(holders) < c.cfg.MinInSync {
		return 0
	}
	return min(lsn, m.startEnd)
}

// settleCommit moves the commit. On a master an older tail commits only together
// with the own epoch-start record, and a lone master only while confirmed.
func (c *Core) settleCommit() {
	if m := c.master; m != nil {
		lsn := c.committable()
		if m.startEnd != 0 && lsn >= m.startEnd && lsn > c.log.commit && !c.staleAlone(c.now) {
			c.log.commit = lsn
		}
		m.committed(c.log.commit)
	} else if c.follow.streaming {
		// Known commit never exceeds what is durable here (invariant 4).
		c.log.commit = max(c.log.commit, min(c.follow.commit, c.log.durable))
	}
	c.applyCommitted()
}
