package replica

import (
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Frame is a message between two slots of one store. The set is closed.
type Frame interface{ frame() }

// Hello: a replica asks the master for the stream. Stream is drawn by the
// replica, rises with every Hello of its incarnation, and marks every later
// frame that belongs to this handshake.
type Hello struct {
	Cluster     string
	Generation  uint64
	Store       cluster.Store
	Slot        cluster.SlotID
	Kind        Kind
	Health      Health
	Incarnation cluster.Incarnation
	Counter     uint64
	Stream      uint64
	Epoch       cluster.Epoch // adopted, durable
	Low         cluster.LSN
	End         cluster.Position
	Commit      cluster.LSN
	Applied     cluster.LSN
	Starts      []EpochStart
}

// Answer is the master's verdict on a Hello.
type Answer uint8

// Answers. Accept covers truncation: Start is where the two histories part, and
// a replica that is longer cuts its tail there.
const (
	Accept Answer = iota
	Reseed        // nothing common is left, or a member has lost octets: a copy of the master replaces it
	Refuse        // not now, or never: Reason says
	Apart         // it knows what the master's history lacks, or is an older disk or a clone: for a person
)

// Welcome answers a Hello.
type Welcome struct {
	Stream uint64
	Epoch  cluster.Epoch
	Answer Answer
	Start  cluster.Position
	Reason string
}

// Batch carries one batch's octets as the master's journal has them. Runners
// build it from the journal; Commit is the master's when it is sent.
type Batch struct {
	Stream uint64
	Epoch  cluster.Epoch
	Base   cluster.LSN
	End    cluster.LSN
	Commit cluster.LSN
	Raw    []byte
}

// Heartbeat: the master's commit, also when idle. Stamp is the master's clock
// when it was sent, for its own lease accounting; others only echo it.
type Heartbeat struct {
	Stream uint64
	Epoch  cluster.Epoch
	Commit cluster.LSN
	Stamp  time.Duration
}

// Ack: the replica is durable up to Durable in the history of this stream, and
// confirms that it knows no higher epoch than Epoch.
type Ack struct {
	Stream  uint64
	Epoch   cluster.Epoch
	Durable cluster.LSN
	Applied cluster.LSN
	Stamp   time.Duration // newest Heartbeat's
	Space   Space
}

// Record passes a store record on: to a deposed master, and to the slot that a
// switchover appoints, which need not wait for its watch.
type Record struct {
	Rev    cluster.Rev
	Record cluster.StoreRecord
}

// Bye says why a session or stream ends.
type Bye struct{ Reason string }

func (Hello) frame()     {}
func (Welcome) frame()   {}
func (Batch) frame()     {}
func (Heartbeat) frame() {}
func (Ack) frame()       {}
func (Record) frame()    {}
func (Bye) frame()       {}
