package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// verdict on a machine.
type verdict uint8

const (
	alive   verdict = iota
	suspect         // one observer cannot reach it
	dead            // the probe and another observer cannot, for long enough
	unknown         // not looked at yet
)

// judge gives a machine its verdict, and the sentence that explains it.
func (d *decision) judge(m *Machine) (verdict, string) {
	if !m.Probe.Known {
		return unknown, "not looked at yet"
	}
	if m.Probe.Failures == 0 {
		return alive, ""
	}
	after, failures, how := d.policy.SilentAfter, 3, "does not answer"
	if m.Probe.Refused {
		after, failures, how = d.policy.RefusedAfter, 2, "refuses connections"
	}
	lasted := d.now.Sub(m.Probe.Since)
	why := fmt.Sprintf("%s for %v", how, lasted.Round(100*time.Millisecond))
	if m.Probe.Failures < failures || lasted < after {
		return suspect, why
	}
	others := d.otherObservers(m)
	if len(others) == 0 {
		return suspect, why + ", which only the probe says"
	}
	return dead, why + "; also " + strings.Join(others, ", ")
}

// otherObservers are those besides the probe who miss the machine.
func (d *decision) otherObservers(m *Machine) []string {
	var out []string
	if !m.Leased {
		out = append(out, "its lease is lost")
	}
	if n := d.cutReplicas(m.Machine); n > 0 {
		out = append(out, fmt.Sprintf("%d of its replicas lost it", n))
	}
	if len(m.Accusers) > 0 {
		out = append(out, strings.Join(m.Accusers, " and ")+" cannot reach it")
	}
	return out
}

// cutReplicas counts the in-sync replicas elsewhere that have no session with
// their master on m.
func (d *decision) cutReplicas(m cluster.Machine) int {
	n := 0
	for i := range d.snap.Stores {
		s := &d.snap.Stores[i]
		if s.Master.IsZero() || s.MachineOf(s.Master) != m {
			continue
		}
		for _, ref := range s.Slots {
			st := d.slot(ref)
			if ref.Slot == s.Master || st == nil || !s.IsInSync(ref.Slot) || !promotable(st.Role) {
				continue
			}
			if !contains(st.Reaches, s.Master) {
				n++
			}
		}
	}
	return n
}

func contains(ids []cluster.SlotID, id cluster.SlotID) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}

// slot is the fresh status of a slot on its own machine; nil if there is none.
func (d *decision) slot(ref cluster.SlotRef) *SlotStatus {
	m := d.snap.machine(ref.Machine)
	if m == nil || !d.fresh(m) {
		return nil
	}
	for i := range m.Slots {
		if m.Slots[i].Slot == ref.Slot {
			return &m.Slots[i]
		}
	}
	return nil
}

func (d *decision) fresh(m *Machine) bool {
	return !m.StatusAt.IsZero() && d.now.Sub(m.StatusAt) <= d.policy.StatusFresh
}

// manyDead reports whether so many machines with slots fell silent at once that
// the observer is the likelier patient: two or more, and more than half of those
// that were up just before. It stays so until they are back or an operator has
// accepted that they are dead.
func (d *decision) manyDead() bool {
	for i := range d.snap.Machines {
		if first := &d.snap.Machines[i]; d.fell(first) && d.manyFellWith(first) {
			return true
		}
	}
	return false
}

// manyFellWith looks at the time that begins with the fall of first.
func (d *decision) manyFellWith(first *Machine) bool {
	fallen, before := 0, 0
	for i := range d.snap.Machines {
		m := &d.snap.Machines[i]
		switch {
		case !m.Storage || m.Probe.Failures > 0 && m.Probe.Since.Before(d.snap.Settings.AcceptDeadBefore):
		case !d.fell(m):
			before++
		case m.Probe.Since.Before(first.Probe.Since):
		case m.Probe.Since.Sub(first.Probe.Since) <= d.policy.AtOnce:
			fallen++
			before++
		default:
			before++
		}
	}
	return fallen > 1 && 2*fallen > before
}

// fell: silent for long enough that the probe alone says dead.
func (d *decision) fell(m *Machine) bool {
	return m.Storage && m.Probe.Failures > 0 && d.accused(m) && !m.Probe.Since.Before(d.snap.Settings.AcceptDeadBefore)
}

// accused: the probe alone says dead.
func (d *decision) accused(m *Machine) bool {
	after := d.policy.SilentAfter
	if m.Probe.Refused {
		after = d.policy.RefusedAfter
	}
	return m.Probe.Failures > 1 && d.now.Sub(m.Probe.Since) >= after
}

func (d *decision) machineProblems() {
	for i := range d.snap.Machines {
		m := &d.snap.Machines[i]
		d.certificateProblem(m)
		name := m.Machine
		switch v := d.judged[name]; {
		case v == dead:
			next := "bring it back"
			if m.Storage {
				next += "; its stores run on their other copies meanwhile"
			}
			d.problem(Problem{Code: MachineDead, Severity: Critical, Machine: name, Text: fmt.Sprintf("Machine %s %s.", name, d.why[name]), Next: next})
		case v == suspect:
			d.problem(Problem{
				Code: MachineSilent, Severity: Warning, Machine: name, Text: fmt.Sprintf("Machine %s %s.", name, d.why[name]),
				Next: "wait a moment; if it stays, look at the network between it and the controller",
			})
		case v == alive && !m.Leased:
			d.problem(Problem{
				Code: MachineNoLease, Severity: Warning, Machine: name, Text: fmt.Sprintf("Machine %s answers but holds no lease.", name),
				Next: "look whether it reaches the coordinator",
			})
		case v == alive && m.Storage && !m.StatusAt.IsZero() && d.now.Sub(m.StatusAt) > 5*time.Second:
			d.problem(Problem{
				Code: MachineNoStatus, Severity: Warning, Machine: name, Text: fmt.Sprintf("Machine %s is up but its agent has not answered for %v.", name, d.now.Sub(m.StatusAt).Round(time.Second)),
				Next: "look at its log and its disks",
			})
		}
	}
}

// quorumProblem: mail flows, and nothing shows that one more loss stops it. A witness
// that is gone has no other sign.
func (d *decision) quorumProblem() {
	members, lost := 0, []string{}
	for i := range d.snap.Machines {
		if m := &d.snap.Machines[i]; m.Control {
			members++
			if d.judged[m.Machine] == dead {
				lost = append(lost, string(m.Machine))
			}
		}
	}
	if up := members - len(lost); len(lost) == 0 || !d.snap.Stale.IsZero() || 2*(up-1) > members {
		return
	}
	d.problem(Problem{
		Code: CoordThin, Severity: Critical,
		Text: fmt.Sprintf("Of %d control machines %d cannot be reached (%s): if another goes, the coordinator has no quorum, and a store that then loses a copy stops.", members, len(lost), strings.Join(lost, ", ")),
		Next: "bring one back, or put another in its place; stop no control machine meanwhile",
	})
}

// certificateNotice is how long before its certificate should be renewed at the latest a
// machine is a problem. It should have done that months ago.
const certificateNotice = 30 * 24 * time.Hour

// certificateProblem: nobody is cut off when the time has passed, but the machine has
// not reached who would renew it for half a year.
func (d *decision) certificateProblem(m *Machine) {
	end := m.CertificateEnds
	if end.IsZero() || end.Sub(d.now) > certificateNotice {
		return
	}
	d.problem(Problem{
		Code: CertificateEnds, Severity: Warning, Machine: m.Machine,
		Text: fmt.Sprintf("The certificate of machine %s should be renewed by %s, and was not.", m.Machine, end.UTC().Format(time.DateOnly)),
		Next: "its log says why; a machine with the CA's key must be up and reachable by it",
	})
}
