package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
)

// Batch is a modelled batch. It is immutable once appended; copies share it.
type Batch struct {
	Base   cluster.LSN
	End    cluster.Position
	Prev   cluster.Chain
	Commit cluster.LSN // known when it was written
	Start  bool
	Record *cluster.StoreRecord
	Ops    []OpID
}

func (b *Batch) chain() cluster.Chain {
	h := sha256.New()
	h.Write(b.Prev[:])
	_ = binary.Write(h, binary.BigEndian, []uint64{uint64(b.Base), uint64(b.End.LSN), uint64(b.End.Epoch), uint64(b.Commit), uint64(len(b.Ops))})
	for _, op := range b.Ops {
		_ = binary.Write(h, binary.BigEndian, uint64(op))
	}
	if b.Record != nil {
		h.Write(b.Record.Encode())
	}
	return cluster.Chain(h.Sum(nil))
}

// Promise is the modelled epoch file.
type Promise struct {
	Epoch    cluster.Epoch
	Record   cluster.StoreRecord
	Rev      cluster.Rev
	CoordRev cluster.Rev
}

// Disk is what survives of one slot: a journal, an epoch file, an index, an open
// counter. Written batches are in the page cache; a sync takes them to the
// platter; a failed sync loses them there although they can still be read.
type Disk struct {
	batches []*Batch
	durable int // batches on the platter
	lost    int // batches from here on were dropped by a failed sync; -1 if none

	promise Promise
	counter uint64
	flushed cluster.LSN // index position on the platter

	damaged bool
}

// NewDisk returns an empty slot's disk.
func NewDisk() *Disk { return &Disk{lost: -1} }

// Clone returns a copy, as a snapshot of the whole machine would.
func (d *Disk) Clone() *Disk {
	c := *d
	c.batches = slices.Clone(d.batches)
	return &c
}

// End is the end of what can be read.
func (d *Disk) End() cluster.Position { return d.endAt(len(d.batches)) }

// Durable is the end of what is truly on the platter.
func (d *Disk) Durable() cluster.Position { return d.endAt(d.durable) }

func (d *Disk) endAt(n int) cluster.Position {
	if n == 0 {
		return cluster.Position{}
	}
	return d.batches[n-1].End
}

// Append writes a batch into the page cache.
func (d *Disk) Append(b *Batch) error {
	if end := d.End(); b.Base != end.LSN || b.Prev != end.Chain {
		return fmt.Errorf("batch %d after %v does not continue %d after %v", b.Base, b.Prev, end.LSN, end.Chain)
	}
	d.batches = append(d.batches, b)
	return nil
}

// Sync takes everything up to end to the platter, except what was lost.
func (d *Disk) Sync(end cluster.LSN) {
	n := d.index(end)
	if d.lost >= 0 {
		n = min(n, d.lost)
	}
	d.durable = max(d.durable, n)
}

// FailSync loses what was not yet durable.
func (d *Disk) FailSync() {
	if d.durable < len(d.batches) && d.lost < 0 {
		d.lost = d.durable
	}
}

// index returns how many batches end at or below lsn.
func (d *Disk) index(lsn cluster.LSN) int {
	return sort.Search(len(d.batches), func(i int) bool { return d.batches[i].End.LSN > lsn })
}

// PositionAt returns the position of a batch border.
func (d *Disk) PositionAt(lsn cluster.LSN) (cluster.Position, bool) {
	p := d.endAt(d.index(lsn))
	return p, p.LSN == lsn
}

// Batch returns the batch that begins at lsn.
func (d *Disk) Batch(lsn cluster.LSN) *Batch {
	if n := d.index(lsn); n < len(d.batches) && d.batches[n].Base == lsn {
		return d.batches[n]
	}
	return nil
}

// Truncate cuts the journal, durably.
func (d *Disk) Truncate(to cluster.LSN) {
	n := d.index(to)
	d.batches = slices.Clone(d.batches[:n])
	d.durable = min(d.durable, n)
	if d.lost >= n {
		d.lost = -1
	}
}

// Kill ends the process: the page cache stays, except pages a failed sync dropped.
func (d *Disk) Kill() {
	if d.lost >= 0 {
		d.batches = slices.Clone(d.batches[:d.lost])
		d.lost = -1
	}
}

// PowerLoss keeps what is durable and a random part of the rest.
func (d *Disk) PowerLoss(rng *rand.Rand) {
	d.Kill()
	d.batches = slices.Clone(d.batches[:d.durable+rng.IntN(len(d.batches)-d.durable+1)])
}

// Recover opens the journal: everything accepted is synced before it is reported.
func (d *Disk) Recover(inc cluster.Incarnation) replica.Opened {
	d.durable = len(d.batches)
	o := replica.Opened{
		Incarnation: inc, Counter: d.counter + 1, End: d.End(), Applied: d.flushed, Adopted: d.promise.Epoch,
		Record: d.promise.Record, Rev: d.promise.Rev, CoordRev: d.promise.CoordRev,
	}
	prev := cluster.Position{}
	for _, b := range d.batches {
		o.Commit = max(o.Commit, b.Commit)
		if b.End.Epoch != prev.Epoch {
			o.Starts = append(o.Starts, replica.EpochStart{Epoch: b.End.Epoch, LSN: b.Base, Chain: prev.Chain})
		}
		prev = b.End
	}
	if d.damaged {
		o.Health = replica.Damaged
	}
	return o
}
