package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// switching: the master was asked to hand over and has not yet.
func (d *decision) switching(s *Store) bool {
	if !s.Want.IsZero() && s.Want != s.Master {
		return true
	}
	n, _ := d.recent(s, d.policy.SwitchRetry, func(r Recent) bool { return isMove(r.Kind) && r.Epoch == s.Epoch })
	return n > 0
}

func isMove(k Kind) bool { return k == Drain || k == Return || k == Switchover }

// move decides on a planned change of a store's master.
func (d *decision) move(s *Store) {
	if d.switching(s) {
		d.stuck(s)
		return
	}
	from := d.snap.machine(s.MachineOf(s.Master))
	switch {
	case from != nil && from.Draining:
		d.drain(s, from)
	case d.mayReturn(s):
		d.hand(s, s.Slots[0], Return, fmt.Sprintf("%s is back, and preferred", s.Slots[0].Machine))
	}
}

func (d *decision) stuck(s *Store) {
	_, asked := d.recent(s, time.Hour, func(r Recent) bool { return isMove(r.Kind) && r.Epoch == s.Epoch })
	if asked.At.IsZero() || d.now.Sub(asked.At) < d.policy.SwitchStuck {
		return
	}
	d.problem(Problem{
		Code: SwitchStuck, Severity: Warning, Store: s.Store,
		Text: fmt.Sprintf("Store %s was asked %v ago to move to %s and has not.", s.Store, d.now.Sub(asked.At).Round(time.Second), s.MachineOf(asked.Slot)),
		Next: "look at the master's log; it says why it refused",
	})
}

func (d *decision) drain(s *Store, from *Machine) {
	var not []string
	for _, ref := range s.Slots {
		if ref.Slot == s.Master {
			continue
		}
		if why := d.unfit(s, ref); why != "" {
			not = append(not, fmt.Sprintf("%s %s", ref.Machine, why))
			continue
		}
		d.hand(s, ref, Drain, fmt.Sprintf("%s is draining", from.Machine))
		return
	}
	if len(not) == 0 {
		not = []string{"it has no other copy"}
	}
	d.problem(Problem{
		Code: DrainBlocked, Severity: Warning, Store: s.Store, Machine: from.Machine,
		Text: fmt.Sprintf("Store %s cannot leave %s: %s.", s.Store, from.Machine, strings.Join(not, "; ")),
		Next: "wait until another copy is in sync; stopping the machine now stops the store",
	})
}

// unfit says why ref cannot take over in a planned way.
func (d *decision) unfit(s *Store, ref cluster.SlotRef) string {
	if !s.IsInSync(ref.Slot) {
		return "is not in sync"
	}
	if _, why := d.usable(ref); why != "" {
		return why
	}
	if d.snap.machine(ref.Machine).Draining {
		return "is draining too"
	}
	return ""
}

// mayReturn: the preferred slot is fit, its machine has been up for a while, and
// this store was not moved lately, unless to drain that machine.
func (d *decision) mayReturn(s *Store) bool {
	preferred := s.Slots[0]
	if d.snap.Settings.NoReturn || preferred.Slot == s.Master || d.unfit(s, preferred) != "" {
		return false
	}
	up := d.snap.machine(preferred.Machine).Probe.UpSince
	if up.IsZero() || d.now.Sub(up) < d.policy.ReturnAfter {
		return false
	}
	_, last := d.recent(s, d.policy.ActionPeriod, func(r Recent) bool { return isMove(r.Kind) || r.Kind == Nominate })
	drained := last.Kind == Drain && last.Epoch+1 == s.Epoch
	return drained || last.At.IsZero() && d.now.Sub(s.MasterSince) >= d.policy.ActionPeriod
}

func (d *decision) hand(s *Store, to cluster.SlotRef, kind Kind, reason string) {
	if d.moving >= d.policy.MaxSwitchovers {
		return // its turn comes
	}
	d.moving++
	d.plan.Actions = append(d.plan.Actions, Action{
		Kind: kind, Store: s.Store, Machine: s.MachineOf(s.Master), Slot: to.Slot, Epoch: s.Epoch, Rev: s.Rev,
		Reason: reason,
	})
}
