package plan

import (
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Answer to "may I stop this machine?".
type Answer string

// Answers.
const (
	Yes        Answer = "yes"
	DrainFirst Answer = "drain first" // works without, but masters on it are held for seconds
	No         Answer = "no"
)

// MayStop answers whether stopping a machine now leaves every store served and
// the coordinator with a quorum, with the reasons against it.
func MayStop(snap Snapshot, policy Policy, now time.Time, machine cluster.Machine) (Answer, []string) {
	d := newDecision(&snap, policy, now)
	if snap.machine(machine) == nil {
		return No, []string{fmt.Sprintf("the cluster has no machine %s", machine)}
	}
	var against []string
	if why := d.quorumWithout(machine); why != "" {
		against = append(against, why)
	}
	masters := 0
	for i := range snap.Stores {
		s := &snap.Stores[i]
		if s.MachineOf(s.Master) == machine && s.Epoch != 0 {
			masters++
		}
		if why := d.storeWithout(s, machine); why != "" {
			against = append(against, why)
		}
	}
	switch {
	case len(against) > 0:
		return No, against
	case masters > 0:
		return DrainFirst, []string{fmt.Sprintf("%d masters are on %s; `tandemail machine drain %s` moves them", masters, machine, machine)}
	}
	return Yes, nil
}

func (d *decision) quorumWithout(machine cluster.Machine) string {
	members, up := 0, 0
	for i := range d.snap.Machines {
		m := &d.snap.Machines[i]
		if !m.Control {
			continue
		}
		members++
		if m.Machine != machine && d.judged[m.Machine] == alive {
			up++
		}
	}
	if m := d.snap.machine(machine); !m.Control || 2*up > members {
		return ""
	}
	return fmt.Sprintf("%d of %d control machines would be left, which is no majority", up, members)
}

func (d *decision) storeWithout(s *Store, machine cluster.Machine) string {
	here := false
	for _, ref := range s.Slots {
		here = here || ref.Machine == machine
	}
	if !here {
		return ""
	}
	if s.Epoch == 0 || s.Unreadable != "" {
		return fmt.Sprintf("store %s has no master yet", s.Store)
	}
	for _, id := range s.InSync {
		ref, _ := s.Ref(id)
		if ref.Machine == machine || d.judged[ref.Machine] != alive {
			continue
		}
		if state, _ := d.master(s); id == s.Master && state == masterThere {
			return "" // served elsewhere
		}
		if _, why := d.usable(ref); why == "" {
			return ""
		}
	}
	return fmt.Sprintf("store %s would have no copy left that is in sync and well", s.Store)
}
