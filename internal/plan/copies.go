package plan

import (
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// copies says what is wrong with the redundancy of a store, and fills empty slots.
func (d *decision) copies(s *Store) {
	if len(s.Slots) > 1 && len(s.InSync) == 1 {
		d.problem(Problem{
			Code: Degraded, Severity: Critical, Store: s.Store, Machine: s.MachineOf(s.InSync[0]),
			Text: fmt.Sprintf("Store %s has one copy, on %s.", s.Store, s.MachineOf(s.InSync[0])),
			Next: "bring the other copy back; do not stop this machine",
		})
	}
	for _, ref := range s.Slots {
		if !s.IsInSync(ref.Slot) {
			d.missing(s, ref)
		}
	}
}

func (d *decision) missing(s *Store, ref cluster.SlotRef) {
	since, long := s.Missing[ref.Slot], true
	text := fmt.Sprintf("The copy of store %s on %s is not in sync", s.Store, ref.Machine)
	if !since.IsZero() {
		text += fmt.Sprintf(" since %v", d.now.Sub(since).Round(time.Second))
		long = d.now.Sub(since) >= d.policy.ReseedGrace
	}
	p := Problem{Code: CopyMissing, Severity: Note, Store: s.Store, Machine: ref.Machine, Text: text + "."}
	switch st := d.slot(ref); {
	case d.judged[ref.Machine] == dead && long:
		p.Severity, p.Next = Warning, "bring the machine back, or give the store another slot"
	case st == nil:
	case (st.Empty || st.Left) && d.reseedDue(s, ref):
		p.Next = "" // it is being filled
		why := "the slot is empty"
		if st.Left {
			why = "a forced failover left the slot's history; its files are kept"
		}
		d.plan.Actions = append(d.plan.Actions, Action{
			Kind: Reseed, Store: s.Store, Machine: ref.Machine, Slot: ref.Slot, Epoch: s.Epoch, Rev: s.Rev,
			Reason: why,
		})
	case long && st.Role != "seeding":
		p.Severity, p.Next = Warning, fmt.Sprintf("look at the log of %s", ref.Machine)
	}
	d.problem(p)
}

func (d *decision) reseedDue(s *Store, ref cluster.SlotRef) bool {
	n, _ := d.recent(s, d.policy.ReseedRetry, func(r Recent) bool { return r.Kind == Reseed && r.Slot == ref.Slot })
	return n == 0
}

// tails are what forced failovers left and is not brought back.
func (d *decision) tails(s *Store) {
	for i := range d.snap.Machines {
		m := &d.snap.Machines[i]
		for _, t := range m.Tails {
			if t.Store == s.Store && d.fresh(m) {
				d.problem(Problem{
					Code: TailOpen, Severity: Warning, Store: s.Store, Machine: m.Machine,
					Text: fmt.Sprintf("What a forced failover of store %s left on %s is not brought back: %s.", s.Store, m.Machine, t.Text),
					Next: fmt.Sprintf("`tandemail store tails %s`; it is tried again by itself", s.Store),
				})
			}
		}
	}
}

// badOpNext is what to do about a copy that cannot apply an operation. It is given
// up only when no copy at work has applied it.
func (d *decision) badOpNext(s *Store, st *SlotStatus) string {
	for _, ref := range s.Slots {
		if other := d.slot(ref); other != nil && other.Failed == "" {
			return "another copy applies it: give this one a new slot, or a release that can apply it"
		}
	}
	return fmt.Sprintf("`tandemail store skip-op %s %d --reason TEXT` gives the operation up and freezes the accounts it names", s.Store, st.BadOp)
}

// slotProblems are what the slots say of themselves.
func (d *decision) slotProblems(s *Store) {
	zones := map[cluster.Zone]cluster.Machine{}
	for _, ref := range s.Slots {
		if m := d.snap.machine(ref.Machine); m != nil && m.Zone != "" {
			if other, ok := zones[m.Zone]; ok {
				d.problem(Problem{Code: SameZone, Severity: Warning, Store: s.Store, Text: fmt.Sprintf("Store %s has copies on %s and %s, both in zone %s.", s.Store, other, ref.Machine, m.Zone), Next: "move one of them"})
			}
			zones[m.Zone] = ref.Machine
		}
		st := d.slot(ref)
		if st == nil {
			continue
		}
		about := func(code Code, sev Severity, text, next string) {
			d.problem(Problem{Code: code, Severity: sev, Store: s.Store, Machine: ref.Machine, Text: fmt.Sprintf("The copy of store %s on %s %s.", s.Store, ref.Machine, text), Next: next})
		}
		switch {
		case st.Empty && st.Failed != "":
			about(SlotFailed, Critical, "is not there: "+st.Failed, "mount its disk, or bring it back")
		case st.Counter < ref.Counter:
			about(SlotOlder, Critical, fmt.Sprintf("was opened %d times, the cluster knows of %d: an older disk or a clone", st.Counter, ref.Counter), "find its newer disk, or reseed it")
		case st.BadNewer:
			about(NeedsNewer, Critical, "stopped: "+st.Failed, "upgrade this machine: a newer release wrote what it has")
		case st.BadOp != 0:
			about(BadOperation, Critical, fmt.Sprintf("stopped at operation %d: %s", st.BadOp, st.Failed), d.badOpNext(s, st))
		case st.Failed != "":
			about(SlotFailed, Critical, "failed: "+st.Failed, fmt.Sprintf("look at why, then run `tandemail store reseed %s %s`", s.Store, ref.Machine))
		case st.Frozen != "":
			about(SlotFrozen, Critical, "is frozen: "+st.Frozen, "run `tandemail control recover`")
		case st.Stalled:
			about(SlotStalled, Critical, "is on a disk that hangs", "look at the disk")
		}
		if st.Damaged != "" {
			next := fmt.Sprintf("it is fetched from another copy: do not give up that; if this stays, look at the disk and run `tandemail store reseed %s %s`", s.Store, ref.Machine)
			if ref.Slot == s.Master {
				next += fmt.Sprintf(", after `tandemail store switchover %s`", s.Store)
			}
			about(BodiesDamaged, Warning, "cannot give "+st.Damaged, next)
		}
	}
}
