package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Severity of a problem.
type Severity string

// Severities. Critical: mail does not flow, or the next loss loses some; a person
// is called. Warning: act today. Note: good to know.
const (
	Critical Severity = "critical"
	Warning  Severity = "warning"
	Note     Severity = "note"
)

// Code names a kind of problem for ever; scripts and runbooks rely on it.
type Code string

// Codes.
const (
	CoordStale       Code = "coordinator-stale"
	CoordRewound     Code = "coordinator-rewound"
	CoordThin        Code = "coordinator-without-spare"
	Paused           Code = "paused"
	ManyDead         Code = "many-machines-dead"
	MachineDead      Code = "machine-dead"
	MachineSilent    Code = "machine-unreachable"
	MachineNoLease   Code = "machine-without-lease"
	MachineNoStatus  Code = "machine-without-status"
	CertificateEnds  Code = "certificate-ends"
	RecordUnreadable Code = "record-unreadable"
	NoMaster         Code = "store-without-master"
	NoCandidate      Code = "store-without-candidate"
	Flapping         Code = "store-flapping"
	Degraded         Code = "store-degraded"
	CopyMissing      Code = "copy-missing"
	SlotFailed       Code = "slot-failed"
	BadOperation     Code = "operation-cannot-be-applied"
	NeedsNewer       Code = "slot-needs-newer-release"
	SlotFrozen       Code = "slot-frozen"
	SlotStalled      Code = "disk-stalled"
	SlotOlder        Code = "slot-older"
	BodiesDamaged    Code = "bodies-damaged"
	TailOpen         Code = "tail-not-brought-back"
	SameZone         Code = "copies-in-one-zone"
	DrainBlocked     Code = "drain-blocked"
	SwitchStuck      Code = "switchover-stuck"
)

// Problem is something a person should know.
type Problem struct {
	Code     Code
	Severity Severity
	Store    cluster.Store
	Machine  cluster.Machine
	Text     string // one sentence
	Next     string // what to do; "" if nothing need be done
}

// String is one line.
func (p Problem) String() string {
	s := fmt.Sprintf("%s %s", p.Severity, p.Code)
	for _, about := range []string{string(p.Store), string(p.Machine)} {
		if about != "" {
			s += " " + about
		}
	}
	s += ": " + p.Text
	if p.Next != "" {
		s += " Next: " + p.Next
	}
	return s
}

// Kind of an action.
type Kind string

// Kinds.
const (
	Nominate   Kind = "nominate"   // Slot shall make itself master
	Drain      Kind = "drain"      // the master shall hand over to Slot: its machine is draining
	Return     Kind = "return"     // the master shall hand over to Slot, the preferred one
	Reseed     Kind = "reseed"     // Slot shall fill itself from the master
	Switchover Kind = "switchover" // an operator's wish; never in a plan
)

// Action is something to ask of one agent.
type Action struct {
	Kind    Kind
	Store   cluster.Store
	Machine cluster.Machine // whose agent is asked
	Slot    cluster.SlotID
	Epoch   cluster.Epoch // of the record this was decided on; the agent refuses others
	Rev     cluster.Rev   // of that record
	Reason  string
}

// String is one line.
func (a Action) String() string {
	return fmt.Sprintf("%s %s on %s after epoch %d: %s", a.Kind, a.Store, a.Machine, a.Epoch, a.Reason)
}

// Plan is the answer to a snapshot, most urgent first.
type Plan struct {
	Problems []Problem
	Actions  []Action
}

// String is one line a problem and action.
func (p Plan) String() string {
	var b strings.Builder
	for _, x := range p.Problems {
		fmt.Fprintf(&b, "%v\n", x)
	}
	for _, x := range p.Actions {
		fmt.Fprintf(&b, "-> %v\n", x)
	}
	return b.String()
}

var urgency = map[Severity]int{Critical: 0, Warning: 1, Note: 2}

func (p *Plan) sort() {
	slices.SortStableFunc(p.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(urgency[a.Severity], urgency[b.Severity]),
			cmp.Compare(a.Code, b.Code), cmp.Compare(a.Store, b.Store), cmp.Compare(a.Machine, b.Machine))
	})
}
