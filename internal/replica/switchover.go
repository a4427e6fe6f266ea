package replica

import (
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// seal is a switchover under way: the master takes no proposals, lets its
// journal become durable on the target, and writes the new record itself.
type seal struct {
	target   cluster.SlotID
	deadline time.Duration // unseals, as long as nothing was sent
	sent     bool          // from here on only a linearizable read unseals
}

func (c *Core) onSwitchTo(e SwitchTo) {
	if why := c.cannotSwitch(e.Target); why != "" {
		c.emit(Told{Text: "switchover refused: " + why})
		return
	}
	if e.Within == 0 {
		e.Within = c.cfg.Timing.Switchover
	}
	c.master.seal = &seal{target: e.Target, deadline: c.now + e.Within}
	c.hold("switchover")
}

func (c *Core) cannotSwitch(target cluster.SlotID) string {
	m := c.master
	if m == nil || !m.serving {
		return "not the serving master"
	}
	p := m.peer(target)
	switch {
	case m.seal != nil || m.ask != nil:
		return "another handover is under way"
	case c.frozen != nil:
		return "frozen: " + c.frozen.String()
	case p == nil:
		return "no such slot beside this one"
	case !c.coord.record.IsInSync(target) || c.counted(target) == nil:
		return "the target is not in sync"
	case p.kind != Full || p.health != Whole:
		return "the target is not a full, whole copy"
	}
	return ""
}

// heedWish acts on the record's Want, the controller's way to ask.
func (c *Core) heedWish() {
	want := c.coord.record.Want
	if want.IsZero() || want == c.cfg.Slot || c.now < c.master.wishAfter || c.cannotSwitch(want) != "" {
		return
	}
	c.onSwitchTo(SwitchTo{Target: want})
}

// settleSeal drives a switchover on, or gives it up at its deadline.
func (c *Core) settleSeal() {
	s := c.master.seal
	switch {
	case s == nil:
	case s.sent:
		if c.mayPropose() && len(c.coord.proposals) > 0 {
			c.propose(c.resolve(s))
		}
	case !c.coord.record.IsInSync(s.target):
		c.unseal("the target has left the set")
	case c.now >= s.deadline:
		c.unseal("the deadline has passed")
	case c.handoverReady(s) && c.mayPropose():
		s.sent = true
		c.propose(c.handover(s.target)) // gives the read lease back before it is sent
	}
}

// handoverReady: everything appended is committed and durable on the target.
func (c *Core) handoverReady(s *seal) bool {
	p := c.counted(s.target)
	return p != nil && c.coord.record.IsInSync(s.target) && c.log.appending == 0 && len(c.coord.proposals) == 0 &&
		c.log.commit == c.log.end.LSN && p.durable == c.log.end.LSN
}

// handover is the record that makes the target master. Its nonce is drawn from
// our incarnation, which tells the target that the old master has sealed itself.
func (c *Core) handover(target cluster.SlotID) cluster.StoreRecord {
	r := c.coord.record.Clone()
	p := c.master.peer(target)
	r.Epoch++
	c.endForced(&r)
	r.Master, r.Incarnation = target, p.incarnation
	r.Want = cluster.SlotID{}
	return r
}

// resolve is what is proposed after an unknown outcome: the switch again while
// the target is there, else the present record, whose success rules it out.
func (c *Core) resolve(s *seal) cluster.StoreRecord {
	if c.counted(s.target) != nil && c.coord.record.IsInSync(s.target) {
		return c.handover(s.target)
	}
	return c.coord.record
}

// sealNeedsRead: what was sent can no longer take effect, but only a
// linearizable read may say so.
func (c *Core) sealNeedsRead() bool {
	return c.master != nil && c.master.seal != nil && c.master.seal.sent && len(c.coord.proposals) == 0
}

// switchLinearized: a linearizable answer shows us as master still, and nothing
// we sent can take effect any more.
func (c *Core) switchLinearized() {
	m := c.master
	if m == nil || m.seal == nil || !m.seal.sent || len(c.coord.proposals) > 0 || c.coord.record.Epoch != m.epoch {
		return
	}
	c.unseal("the record did not change")
}

func (c *Core) unseal(why string) {
	c.master.seal = nil
	c.master.wishAfter = c.now + c.cfg.Timing.Alone
	c.unhold()
	c.emit(Told{Text: fmt.Sprintf("switchover given up: %s", why)})
}
