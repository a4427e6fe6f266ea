package replica

import (
	"slices"

	"github.com/tandemail/tandemail/internal/cluster"
)

// proposal is a record sent to the coordinator whose outcome is not known. It
// may take effect as long as the key can still be at rev, however often later
// questions showed the old value: a delayed request may be on its way.
type proposal struct {
	nonce  string
	rev    cluster.Rev
	record cluster.StoreRecord
}

// propose sends r as a compare-and-swap on the known revision. The proposal
// counts from before it is sent.
func (c *Core) propose(r cluster.StoreRecord) {
	k := &c.coord
	r = r.Clone()
	r.Nonce = c.nonce()
	i := slices.IndexFunc(k.proposals, func(q proposal) bool { return sameClaim(q.record, r) })
	if i < 0 && len(k.proposals) == maxProposals {
		nonce := r.Nonce
		i, r = 0, k.proposals[0].record.Clone() // settle what is there first
		r.Nonce = nonce
	}
	p := proposal{nonce: r.Nonce, rev: k.rev, record: r}
	if i >= 0 {
		k.proposals[i] = p // same consequences: one entry stands for both
	} else {
		k.proposals = append(k.proposals, p)
	}
	k.asked, k.askedIn, k.settled = r.Nonce, c.question(), false
	c.refreshLease() // the required set may have grown: before the proposal leaves
	c.emit(ProposeRecord{Rev: k.rev, Record: r})
}

func (c *Core) onCASAnswered(e CASAnswered) {
	k := &c.coord
	if e.Nonce != k.asked {
		return
	}
	k.asked = ""
	if e.Outcome == OK {
		c.learn(sighting{record: e.Record, rev: e.Rev, coordRev: e.CoordRev, linearizable: true, prev: k.rev, asked: k.askedIn})
		return
	}
	if c.mutated(RequireRecordedOnly) {
		k.proposals = nil // takes "unknown" for "failed"
	}
	k.wantRead, k.settled = true, false
	k.notBefore = max(k.notBefore, c.now)
	if e.Outcome == Unknown {
		k.notBefore = c.now + c.cfg.Timing.Retry
	}
}

// dropDead forgets proposals that can no longer take effect: the revision they
// compare with has passed. If one of them is the record, it is known by content.
func (c *Core) dropDead() {
	c.coord.proposals = slices.DeleteFunc(c.coord.proposals, func(p proposal) bool { return p.rev != c.coord.rev })
}

// mayPropose: one question at a time, nothing while frozen, and after an unknown
// outcome only when a linearizable read has shown where the key stands.
func (c *Core) mayPropose() bool {
	k := &c.coord
	if c.frozen != nil || !k.verified || k.asked != "" {
		return false
	}
	return len(k.proposals) == 0 || k.settled
}

// possibleSets are all in-sync sets the record may hold: the recorded one and
// every proposed one whose outcome is not known. A commit holds in each.
func (c *Core) possibleSets() [][]cluster.SlotID {
	k := &c.coord
	sets := [][]cluster.SlotID{k.record.InSync}
	for _, p := range k.proposals {
		switch {
		case c.mutated(RequireAfterAnswer) && p.nonce == k.asked:
			continue
		case c.mutated(ShrinkBeforeKnown) && len(p.record.InSync) < len(k.record.InSync):
			sets[0] = p.record.InSync
			continue
		}
		sets = append(sets, p.record.InSync)
	}
	return sets
}

// Required returns the required set: every slot that is in a set the record may
// hold, in the record's order of slots. Empty unless master.
func (c *Core) Required() []cluster.SlotID {
	if c.master == nil {
		return nil
	}
	var out []cluster.SlotID
	sets := c.possibleSets()
	for _, ref := range c.coord.record.Slots {
		if slices.ContainsFunc(sets, func(s []cluster.SlotID) bool { return slices.Contains(s, ref.Slot) }) {
			out = append(out, ref.Slot)
		}
	}
	return out
}

// proposed reports whether set is the recorded one or one we asked for.
func (c *Core) proposed(set []cluster.SlotID) bool {
	if sameSet(set, c.coord.record.InSync) {
		return true
	}
	return slices.ContainsFunc(c.coord.proposals, func(p proposal) bool { return sameSet(set, p.record.InSync) })
}

func (c *Core) alone() bool {
	r := c.Required()
	return len(r) == 1 && r[0] == c.cfg.Slot
}

func sameSet(a, b []cluster.SlotID) bool {
	if len(a) != len(b) {
		return false
	}
	for _, id := range a {
		if !slices.Contains(b, id) {
			return false
		}
	}
	return true
}

// sameClaim: two proposals that would have the same consequences.
func sameClaim(a, b cluster.StoreRecord) bool {
	return a.Epoch == b.Epoch && a.Master == b.Master && a.Incarnation == b.Incarnation && sameSet(a.InSync, b.InSync) && slices.Equal(a.Slots, b.Slots)
}
