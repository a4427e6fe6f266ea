package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Make decides. The policy's zero values are its defaults.
func Make(snap Snapshot, policy Policy, now time.Time) Plan {
	d := newDecision(&snap, policy, now)
	d.clusterProblems()
	d.machineProblems()
	for i := range snap.Stores {
		d.store(&snap.Stores[i])
	}
	if d.held != "" {
		d.plan.Actions = nil
	}
	d.plan.sort()
	return d.plan
}

// decision is the work on one snapshot.
type decision struct {
	snap   *Snapshot
	policy Policy
	now    time.Time
	judged map[cluster.Machine]verdict
	why    map[cluster.Machine]string
	plan   Plan
	held   string // why nothing automatic happens; "" if it does
	moving int    // switchovers under way or decided
}

func newDecision(snap *Snapshot, policy Policy, now time.Time) *decision {
	d := &decision{
		snap: snap, policy: policy.For(snap.Settings), now: now,
		judged: map[cluster.Machine]verdict{}, why: map[cluster.Machine]string{},
	}
	for i := range snap.Machines {
		m := &snap.Machines[i]
		d.judged[m.Machine], d.why[m.Machine] = d.judge(m)
	}
	for i := range snap.Stores {
		if s := &snap.Stores[i]; d.switching(s) {
			d.moving++
		}
	}
	return d
}

func (d *decision) problem(p Problem) { d.plan.Problems = append(d.plan.Problems, p) }

// clusterProblems are about everything, and may hold everything automatic.
func (d *decision) clusterProblems() {
	s := d.snap
	if s.Rewound {
		d.held = "rewound"
		d.problem(Problem{Code: CoordRewound, Severity: Critical, Text: "The coordinator went back to an older state; nothing automatic happens.", Next: "run `tandemail control recover`"})
	}
	if lost := d.unknownStores(); lost != "" && !s.Rewound && s.Stale.IsZero() {
		d.held = "rewound"
		d.problem(Problem{Code: CoordRewound, Severity: Critical, Text: fmt.Sprintf("The coordinator does not know %s: it was wiped or went back; nothing automatic happens.", lost), Next: "run `tandemail control recover`"})
	}
	if !s.Stale.IsZero() {
		d.held = "stale"
		d.problem(Problem{Code: CoordStale, Severity: Critical, Text: fmt.Sprintf("The coordinator has not answered for %v; a machine that is restarted now does not serve, and a store that loses a copy stops.", d.now.Sub(s.Stale).Round(time.Second)), Next: "bring back a majority of the control machines"})
	}
	d.quorumProblem()
	if d.manyDead() {
		d.held = "many"
		d.problem(Problem{Code: ManyDead, Severity: Critical, Text: "More than half of the machines fell silent at once; more likely this controller is cut off, so nothing automatic happens.", Next: "look at the network and bring the machines back; if they are lost for certain, `tandemail resume --accept-dead`"})
	}
	if s.Settings.Paused {
		d.held = "paused"
		d.problem(Problem{Code: Paused, Severity: Warning, Text: fmt.Sprintf("Automatic action is paused by %s since %s: %s.", orUnknown(s.Settings.PausedBy), s.Settings.PausedAt.UTC().Format(time.RFC3339), orUnknown(s.Settings.PausedReason)), Next: "run `tandemail resume`"})
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "somebody"
	}
	return s
}

// store decides about one store.
func (d *decision) store(s *Store) {
	if s.Unreadable != "" {
		d.problem(Problem{Code: RecordUnreadable, Severity: Critical, Store: s.Store, Text: fmt.Sprintf("The record of store %s cannot be read: %s.", s.Store, s.Unreadable), Next: "upgrade the controller, or restore the record"})
		return
	}
	d.slotProblems(s)
	d.tails(s)
	if d.contradicted(s) {
		// On less than a copy knows nothing is decided.
		defer func(n int) { d.plan.Actions = d.plan.Actions[:n] }(len(d.plan.Actions))
	}
	switch state, why := d.master(s); state {
	case masterNone, masterGone:
		d.promote(s, why)
	case masterThere:
		d.copies(s)
		d.move(s)
	case masterUnknown:
		d.copies(s)
	}
}

// contradicted: a copy knows more than the coordinator shows, and says so or soon will.
// For a moment it may also have heard a change first.
func (d *decision) contradicted(s *Store) bool {
	for i := range d.snap.Machines {
		m := &d.snap.Machines[i]
		more := func(st SlotStatus) bool {
			return st.Store == s.Store && (st.Frozen != "" || st.Rev > s.Rev || st.Epoch > s.Epoch)
		}
		if d.fresh(m) && slices.ContainsFunc(m.Slots, more) {
			return true
		}
	}
	return false
}

type masterState uint8

const (
	masterUnknown masterState = iota // no fresh word about it
	masterThere
	masterGone
	masterNone // the store is new
)

// master says whether the recorded master is at work.
func (d *decision) master(s *Store) (masterState, string) {
	if s.Epoch == 0 {
		return masterNone, "the store is new"
	}
	ref, _ := s.Ref(s.Master)
	if d.judged[ref.Machine] == dead {
		return masterGone, fmt.Sprintf("machine %s is dead", ref.Machine)
	}
	m := d.snap.machine(ref.Machine)
	if m == nil || !d.fresh(m) {
		return masterUnknown, ""
	}
	st := d.slot(ref)
	switch {
	case st == nil:
		return masterGone, fmt.Sprintf("machine %s does not run its slot", ref.Machine)
	case st.Incarnation != s.Incarnation:
		return masterGone, fmt.Sprintf("the master on %s was restarted", ref.Machine)
	case st.Failed != "" || st.Role == "failed" || st.Role == "ended":
		return masterGone, fmt.Sprintf("the master on %s failed: %s", ref.Machine, orUnknown(st.Failed))
	case st.Stalled:
		return masterGone, fmt.Sprintf("the disk of the master on %s hangs", ref.Machine)
	}
	return masterThere, "" // or about to be: appointed, not yet adopted
}

// recent counts actions of a kind for a store since then, and finds the newest.
func (d *decision) recent(s *Store, since time.Duration, match func(Recent) bool) (n int, newest Recent) {
	for _, r := range d.snap.Recent {
		if r.Store == s.Store && d.now.Sub(r.At) < since && match(r) {
			n++
			if newest.At.IsZero() || r.At.After(newest.At) {
				newest = r
			}
		}
	}
	return n, newest
}
