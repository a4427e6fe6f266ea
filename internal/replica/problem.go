package replica

// Code names a problem in status, metrics and documentation.
type Code string

// Problem codes. The first group freezes automation, the second fails the slot.
const (
	RecordIllegal  Code = "record-illegal"       // not a step that may follow what was known
	RecordMissing  Code = "record-missing"       // the coordinator was wiped
	CoordRewound   Code = "coordinator-rewound"  // its revisions went back
	OlderDisk      Code = "older-disk-or-clone"  // this open counter has been used before
	SlotUnknown    Code = "slot-unknown"         // the record does not name this slot
	Diverged       Code = "diverged-from-commit" // the master's history lacks what we committed
	ChainMismatch  Code = "chain-mismatch"       // same position, other octets
	NeedsReseed    Code = "needs-reseed"         // no common journal is left
	DamagedJournal Code = "damaged"              // found when opening
)

// Problem explains to an operator what is wrong and what was seen.
type Problem struct {
	Code Code
	Text string
}

func (p Problem) String() string { return string(p.Code) + ": " + p.Text }
