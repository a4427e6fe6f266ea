package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

func promotable(role string) bool { return role == "replica" || role == "candidate" }

// candidate is a slot that could be master.
type candidate struct {
	ref      cluster.SlotRef
	durable  cluster.LSN
	draining bool
	tried    int // nominations in this epoch
	order    int // in the record: 0 is preferred
}

// promote finds a master for a store that has none.
func (d *decision) promote(s *Store, why string) {
	cands, not := d.candidates(s)
	if len(cands) == 0 {
		d.problem(Problem{
			Code: NoCandidate, Severity: Critical, Store: s.Store,
			Text: fmt.Sprintf("Store %s has no master (%s) and no copy that may become one: %s.", s.Store, why, strings.Join(not, "; ")),
			Next: d.noCandidateNext(s),
		})
		return
	}
	d.problem(Problem{Code: NoMaster, Severity: Critical, Store: s.Store, Text: fmt.Sprintf("Store %s has no master: %s.", s.Store, why), Next: d.promoteNext()})
	nominated := func(r Recent) bool { return r.Kind == Nominate && r.Epoch == s.Epoch }
	if n, _ := d.recent(s, d.policy.NominateRetry, nominated); n > 0 {
		return // under way
	}
	if n := d.failovers(s); n >= d.policy.MaxFailovers {
		d.problem(Problem{
			Code: Flapping, Severity: Critical, Store: s.Store,
			Text: fmt.Sprintf("Store %s lost %d masters within %v; no other is appointed until that time has passed.", s.Store, n, d.policy.FlapPeriod),
			Next: "look at the logs of its machines",
		})
		return
	}
	if d.unheard(s) {
		return // a copy that is there may say that the coordinator went back
	}
	c := cands[0]
	if s.Epoch == 0 && c.order != 0 && d.judged[s.Slots[0].Machine] != dead && d.now.Sub(s.MasterSince) < d.policy.NewGrace {
		return // the preferred slot is being made
	}
	d.plan.Actions = append(d.plan.Actions, Action{
		Kind: Nominate, Store: s.Store, Machine: c.ref.Machine, Slot: c.ref.Slot, Epoch: s.Epoch, Rev: s.Rev,
		Reason: why,
	})
}

// noCandidateNext: copies that stopped at an operation have a problem of their own,
// and a forced failover would only lose mail.
func (d *decision) noCandidateNext(s *Store) string {
	for _, ref := range s.Slots {
		if st := d.slot(ref); st != nil && st.BadOp != 0 && !st.BadNewer && (s.Epoch == 0 || s.IsInSync(ref.Slot)) {
			return d.badOpNext(s, st)
		}
	}
	return fmt.Sprintf("bring one of these back; only if all are lost: `tandemail store failover %s --force`", s.Store)
}

// hearGrace is how long a machine that is not dead is given to say how its copies are.
const hearGrace = 5 * time.Second

// unheard: a machine with a copy, which is not dead for all that is known, has never
// said how its copy is. A controller that was just elected knows nothing.
func (d *decision) unheard(s *Store) bool {
	return slices.ContainsFunc(s.Slots, func(ref cluster.SlotRef) bool {
		m := d.snap.machine(ref.Machine)
		if m == nil || !m.StatusAt.IsZero() {
			return false
		}
		since := m.Probe.UpSince
		if d.judged[ref.Machine] == suspect {
			since = m.Probe.Since
		}
		return d.judged[ref.Machine] != dead && (since.IsZero() || d.now.Sub(since) < hearGrace)
	})
}

func (d *decision) promoteNext() string {
	if d.held != "" {
		return "nothing automatic happens now; see the problem that says why"
	}
	return "" // it is being done
}

// failovers counts the epochs that ended by nomination in the flap period, this
// one not included.
func (d *decision) failovers(s *Store) int {
	ended := map[cluster.Epoch]bool{}
	for _, r := range d.snap.Recent {
		if r.Store == s.Store && r.Kind == Nominate && r.Epoch != s.Epoch && r.Epoch != 0 && d.now.Sub(r.At) < d.policy.FlapPeriod {
			ended[r.Epoch] = true
		}
	}
	return len(ended)
}

// candidates are the slots that may become master, best first, and why the
// others of the in-sync set may not.
func (d *decision) candidates(s *Store) (out []candidate, not []string) {
	for i, ref := range s.Slots {
		if s.Epoch != 0 && !s.IsInSync(ref.Slot) {
			continue
		}
		st, why := d.usable(ref)
		if why != "" {
			not = append(not, fmt.Sprintf("%s %s", ref.Machine, why))
			continue
		}
		tried, _ := d.recent(s, d.policy.FlapPeriod, func(r Recent) bool {
			return r.Kind == Nominate && r.Epoch == s.Epoch && r.Slot == ref.Slot
		})
		out = append(out, candidate{ref, st.Durable, d.snap.machine(ref.Machine).Draining, tried, i})
	}
	slices.SortStableFunc(out, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.tried, b.tried), compareBool(a.draining, b.draining),
			cmp.Compare(b.durable, a.durable), cmp.Compare(a.order, b.order))
	})
	return out, not
}

// usable says why a slot cannot be master now, "" if it can.
func (d *decision) usable(ref cluster.SlotRef) (*SlotStatus, string) {
	switch d.judged[ref.Machine] {
	case dead:
		return nil, "is dead"
	case suspect:
		return nil, "cannot be reached"
	}
	m := d.snap.machine(ref.Machine)
	if m == nil {
		return nil, "is no machine of this cluster"
	}
	if !d.fresh(m) {
		return nil, "has not said how its slot is"
	}
	st := d.slot(ref)
	switch {
	case st == nil || st.Closed:
		return nil, "does not run the slot"
	case st.Failed != "":
		return nil, "has the slot failed: " + st.Failed
	case st.Counter < ref.Counter:
		return nil, "has an older state of the slot than the cluster knows"
	case st.Frozen != "":
		return nil, "has the slot frozen: " + st.Frozen
	case st.Stalled:
		return nil, "has a disk that hangs"
	case !promotable(st.Role):
		return nil, "has the slot as " + st.Role
	}
	return st, ""
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
