package replica

import (
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Effect is something the runner must do. The package comment says which are
// ordered and which may run beside the loop.
type Effect interface{ effect() }

// AppendRaw: append these octets of the master at Base. Ordered, inline;
// answer Appended, AppendRefused or DiskFailed.
type AppendRaw struct {
	Base cluster.LSN
	Raw  []byte
}

// AppendRecord: append a batch of Epoch that holds Record as a journal record,
// with Start as an epoch-start record (and a fork record if Record.Forced is set).
// Ordered, inline; answer Appended or DiskFailed.
type AppendRecord struct {
	Epoch  cluster.Epoch
	Start  bool
	Record cluster.StoreRecord
	Rev    cluster.Rev
}

// Truncate: cut the journal at To, keep the cut part beside it, make the cut
// durable. Ordered, inline; answer Truncated or DiskFailed. Never emitted while
// a Sync or an append is outstanding.
type Truncate struct{ To cluster.LSN }

// Sync: make the journal durable. Answer Durable with the end it had when the
// sync began, or DiskFailed. Never two at a time.
type Sync struct{}

// Send a frame. Lost frames are no error; the session's end is SessionDown.
type Send struct {
	Session Session
	Frame   Frame
}

// CloseSession: end the connection. SessionDown need not follow.
type CloseSession struct {
	Session Session
	Reason  string
}

// Locate: look up the journal's position at LSN. Answer Located.
type Locate struct {
	Session Session
	Stream  uint64
	LSN     cluster.LSN
}

// StartStream: from now on send this session every batch from From on, as it is
// written, in Batch frames of this Stream and Epoch, as far as a Cursor has room.
type StartStream struct {
	Session Session
	Stream  uint64
	Epoch   cluster.Epoch
	From    cluster.LSN
}

// StreamAcked: the peer is durable up to LSN; the Cursor has room again.
type StreamAcked struct {
	Session Session
	LSN     cluster.LSN
}

// StopStream: send no more batches in this session.
type StopStream struct{ Session Session }

// ApplyTo: everything up to LSN is committed: apply it, answer Applied.
type ApplyTo struct{ LSN cluster.LSN }

// AdoptEpoch: make Epoch, Record and the revisions durable in the epoch file:
// written aside, synced, renamed, directory synced. Answer EpochDurable.
type AdoptEpoch struct {
	Epoch    cluster.Epoch
	Record   cluster.StoreRecord
	Rev      cluster.Rev
	CoordRev cluster.Rev
}

// KeepRecord: note the record and revisions in the epoch file; no answer.
type KeepRecord struct {
	Record   cluster.StoreRecord
	Rev      cluster.Rev
	CoordRev cluster.Rev
}

// KeepCounter: the record agrees that this open is a new one: make its counter
// durable in meta and spool. Answer CounterKept. Until then the slot only looks.
type KeepCounter struct{ Counter uint64 }

// ProposeRecord: write Record if the key is still at Rev. Answer CASAnswered.
type ProposeRecord struct {
	Rev    cluster.Rev
	Record cluster.StoreRecord
}

// ReadRecord: read the record, linearizably. Answer RecordSeen or ReadFailed
// with this number.
type ReadRecord struct{ Read uint64 }

// AskController: may this master go on without Peer? Answer ControllerAnswered.
type AskController struct{ Peer cluster.SlotID }

// Serve: this slot is the store's master. Proposals are taken (CanAppend
// decides), reads served until the last ReadLease.
type Serve struct{ Epoch cluster.Epoch }

// ReadLease: reads may be answered until Until, compared after the command
// arrived, on the clock of Step. It may also move back.
type ReadLease struct{ Until time.Duration }

// Hold: still master, but take no proposals until Serve. What waits, waits.
type Hold struct{ Reason string }

// StopServing: no longer the master. What was appended and not answered is
// answered "unknown"; what was only waiting did not happen.
type StopServing struct{ Reason string }

// EndIncarnation: close the slot and open it again as a new incarnation, with a
// new Core. This Core answers nothing any more.
type EndIncarnation struct{ Reason string }

// FailSlot: this slot's data may not be used. It stays open for inspection and
// repair; this Core answers nothing any more.
type FailSlot struct{ Problem Problem }

// Freeze: the coordinator contradicts what this slot knows. The slot keeps its
// role but proposes nothing until a record of a higher generation appears.
type Freeze struct{ Problem Problem }

// Thaw: the reason of Freeze is gone.
type Thaw struct{}

// Told is a fact for log and history: a nomination refused, a switch given up.
type Told struct{ Text string }

func (AppendRaw) effect()      {}
func (AppendRecord) effect()   {}
func (Truncate) effect()       {}
func (Sync) effect()           {}
func (Send) effect()           {}
func (CloseSession) effect()   {}
func (Locate) effect()         {}
func (StartStream) effect()    {}
func (StreamAcked) effect()    {}
func (StopStream) effect()     {}
func (ApplyTo) effect()        {}
func (AdoptEpoch) effect()     {}
func (KeepRecord) effect()     {}
func (KeepCounter) effect()    {}
func (ProposeRecord) effect()  {}
func (ReadRecord) effect()     {}
func (AskController) effect()  {}
func (Serve) effect()          {}
func (ReadLease) effect()      {}
func (Hold) effect()           {}
func (StopServing) effect()    {}
func (EndIncarnation) effect() {}
func (FailSlot) effect()       {}
func (Freeze) effect()         {}
func (Thaw) effect()           {}
func (Told) effect()           {}
