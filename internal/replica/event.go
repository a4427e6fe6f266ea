package replica

import (
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Event is something that happened to the slot. The set is closed.
type Event interface{ event() }

// Session names one connection to one peer. It is never used again within an
// incarnation: acknowledgements count in the session that carried them only.
type Session uint64

// Health is what opening the slot found.
type Health uint8

// Health of a slot's data.
const (
	Whole   Health = iota // recovered, nothing missing
	Seeding               // a copy is being made: not usable yet
	Damaged               // octets missing or wrong: never promoted, never in the set
)

// EpochStart says where an epoch begins in a journal.
type EpochStart struct {
	Epoch cluster.Epoch
	LSN   cluster.LSN   // of the epoch's first batch
	Chain cluster.Chain // before that batch
}

// Opened is the first event of every Core: recovery has finished and everything
// up to End is durable. Counter is one more than the counter kept last: it is
// kept only when KeepCounter says so, or an older disk that is opened twice would
// outgrow the recorded counter.
type Opened struct {
	Incarnation cluster.Incarnation
	Counter     uint64
	Health      Health
	Low         cluster.LSN // the journal is trimmed below
	End         cluster.Position
	Commit      cluster.LSN // highest commit found in the journal, or Applied
	Applied     cluster.LSN
	Adopted     cluster.Epoch // from the epoch file
	Starts      []EpochStart  // oldest first; the newest 64 are enough
	// Record, Rev and CoordRev are what KeepRecord or AdoptEpoch saved last; Rev 0 if nothing.
	Record   cluster.StoreRecord
	Rev      cluster.Rev
	CoordRev cluster.Rev
}

// RecordSeen is the store's record as a watch, a frame or a read showed it.
type RecordSeen struct {
	// Read is the number of the ReadRecord this answers, which makes it
	// linearizable; 0 for a watch.
	Read   uint64
	Record cluster.StoreRecord
	Rev    cluster.Rev // of the key; 0: the key is missing
	// PrevRev is the revision this one replaced, if the watch told; else 0.
	PrevRev cluster.Rev
	// CoordRev is the coordinator's own revision with this answer.
	CoordRev cluster.Rev
}

// ReadFailed: the ReadRecord of that number got no answer.
type ReadFailed struct{ Read uint64 }

// Outcome of a compare-and-swap.
type Outcome uint8

// Outcomes. An error is Unknown, never Conflict.
const (
	Unknown Outcome = iota
	OK
	Conflict // definitely not done, because the revision was another one
)

// CASAnswered answers ProposeRecord, within a bounded time. With OK, Record and
// Rev are what was written and its revision.
type CASAnswered struct {
	Nonce    string
	Outcome  Outcome
	Record   cluster.StoreRecord
	Rev      cluster.Rev
	CoordRev cluster.Rev
}

// Nominate: the controller asks this slot to become master. Harmless to repeat.
type Nominate struct {
	// Forced appoints a slot that is not in the recorded set (forced failover).
	Forced bool
	// OldIsOff: a fence or a person vouches that the old master is off; without
	// it a forced master waits out the old one's Alone time.
	OldIsOff bool
	// Rev, for a forced one, is that of the record it was decided on: it is given up
	// if the record has changed since.
	Rev cluster.Rev
	// CoordRev is the coordinator's revision the controller decided on. A nominee
	// that then reads a lower one knows that the coordinator went back.
	CoordRev cluster.Rev
}

// SwitchTo asks the master to hand over to Target within Within (0: the default).
type SwitchTo struct {
	Target cluster.SlotID
	Within time.Duration
}

// Appended: a batch is in the journal, not yet durable. Answers AppendRaw and
// AppendRecord, and reports the batches the runner appended itself. End.Epoch
// is the batch's epoch.
type Appended struct {
	Base cluster.LSN
	End  cluster.Position
}

// AppendRefused: the octets of an AppendRaw do not continue this journal
// (checksum, chain). Nothing was written.
type AppendRefused struct{ Reason string }

// Durable: a Sync that began when the journal ended at LSN has succeeded.
type Durable struct{ LSN cluster.LSN }

// DiskFailed: a write or sync of the journal or of the epoch file has failed.
type DiskFailed struct{ Reason string }

// EpochDurable: the epoch file holds Epoch, file and directory synced.
type EpochDurable struct{ Epoch cluster.Epoch }

// CounterKept: the slot's files hold Counter, durably. Answers KeepCounter.
type CounterKept struct{ Counter uint64 }

// Truncated: the journal now ends at End, durably. Answers Truncate.
type Truncated struct{ End cluster.Position }

// Trimmed: the journal now begins at Low.
type Trimmed struct{ Low cluster.LSN }

// Applied: the state machine and the index are at LSN.
type Applied struct{ LSN cluster.LSN }

// Located answers Locate. Found is false if the journal has no batch border
// there any more.
type Located struct {
	Session Session
	Stream  uint64
	At      cluster.Position
	Found   bool
}

// SessionUp: a connection with Peer stands, authenticated as that slot's machine.
type SessionUp struct {
	Session Session
	Peer    cluster.SlotID
}

// SessionDown: the connection is gone; nothing more arrives from it.
type SessionDown struct{ Session Session }

// FrameIn: a frame arrived.
type FrameIn struct {
	Session Session
	Frame   Frame
}

// Verdict of the controller on going alone.
type Verdict uint8

// Verdicts.
const (
	NoVerdict Verdict = iota // not reached: ask again
	GoAlone                  // nobody reaches the replica either
	HandOver                 // others reach it: let it take over
)

// ControllerAnswered answers AskController.
type ControllerAnswered struct{ Verdict Verdict }

// Space is how full a slot's disks are.
type Space uint8

// Space levels.
const (
	Roomy    Space = iota
	Warn           // 80 %
	Refusing       // 92 %: no new octets
)

// SpaceLevel reports the level of this slot's disks when it changed.
type SpaceLevel struct{ Level Space }

// Tick: time has passed.
type Tick struct{}

func (Opened) event()             {}
func (RecordSeen) event()         {}
func (ReadFailed) event()         {}
func (CASAnswered) event()        {}
func (Nominate) event()           {}
func (SwitchTo) event()           {}
func (Appended) event()           {}
func (AppendRefused) event()      {}
func (Durable) event()            {}
func (DiskFailed) event()         {}
func (EpochDurable) event()       {}
func (CounterKept) event()        {}
func (Truncated) event()          {}
func (Applied) event()            {}
func (Trimmed) event()            {}
func (Located) event()            {}
func (SessionUp) event()          {}
func (SessionDown) event()        {}
func (FrameIn) event()            {}
func (ControllerAnswered) event() {}
func (SpaceLevel) event()         {}
func (Tick) event()               {}
