package sim

import (
	"encoding/binary"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
)

// OpID names one client operation; retries use it again.
type OpID uint64

// Batch is what a batch of the journal says. It is immutable; copies share it.
type Batch struct {
	Base   cluster.LSN
	End    cluster.Position
	Commit cluster.LSN // known when it was written
	Fork   uint64      // begins a forced epoch, the store's so-manieth; 0: it does not
	Ops    []OpID
	// Line is the history it belongs to: the end of the newest forced epoch's first
	// batch at or before it. Zero: there was none.
	Line cluster.Chain
}

// records are those of a batch of operations.
func records(ops []OpID) []journal.Record {
	var recs []journal.Record
	for _, op := range ops {
		recs = append(recs, journal.Record{Kind: journal.KindOperation, Payload: binary.BigEndian.AppendUint64(nil, uint64(op))})
	}
	return recs
}

// decode reads a batch that follows prev, nil at the journal's beginning.
func decode(b journal.Batch, prev *Batch) *Batch {
	d := &Batch{Base: b.Base, End: b.Position(), Commit: b.Commit}
	if prev != nil {
		d.Line = prev.Line
	}
	for at, rec := range b.Records() {
		switch rec.Kind {
		case journal.KindOperation:
			d.Ops = append(d.Ops, OpID(binary.BigEndian.Uint64(rec.Payload)))
		case journal.KindFork:
			d.Fork, d.Line = binary.BigEndian.Uint64(rec.Payload), b.Chain
		case journal.KindEpochStart, journal.KindStoreRecord:
		default:
			panic(fmt.Sprintf("sim: record of %v at %d", rec.Kind, at))
		}
	}
	return d
}
