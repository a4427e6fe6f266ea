package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/simfs"
)

// journalDir and smallSegment: segments are small, so that a run begins many.
const (
	journalDir   = "slot/journal"
	smallSegment = 16 << 10
)

// Promise is the modelled epoch file.
type Promise struct {
	Epoch    cluster.Epoch
	Record   cluster.StoreRecord
	Rev      cluster.Rev
	CoordRev cluster.Rev
}

// Disk is what survives of one slot: its journal, kept by package journal on a
// file system that forgets, and models of the small files and the index.
//
// Beside the journal it remembers what the journal was given and what became
// durable. The protocol sees nothing of that: the checker compares by it.
type Disk struct {
	id  cluster.SlotID
	fs  *simfs.FS
	j   *journal.Journal // nil while the slot is not open
	log []*Batch         // what the journal should hold
	cut []*Batch         // what a truncation took from it

	durable cluster.LSN // at least so much is on the platter

	promise Promise
	counter uint64
	flushed cluster.Position // of the index on the platter

	rotten bool // it does not hold what was written
}

// NewDisk returns an empty slot's disk.
func NewDisk(id cluster.SlotID) *Disk {
	d := &Disk{id: id, fs: simfs.New()}
	j, err := journal.Create(d.config(), cluster.Position{})
	if err != nil {
		panic(err)
	}
	if err := j.Close(); err != nil {
		panic(err)
	}
	return d
}

func (d *Disk) config() journal.Config {
	return journal.Config{
		FS: d.fs, Dir: journalDir, StoreID: [16]byte{1}, Disk: disk.New(disk.Config{}), SegmentSize: smallSegment,
		VerifyFrom: d.flushed.LSN, Applied: d.flushed.LSN, Member: d.member(),
	}
}

// member: the last record this slot saw has it in the set.
func (d *Disk) member() bool { return d.promise.Record.IsInSync(d.id) }

// Clone returns a copy that is not open, as a snapshot of the whole machine would.
func (d *Disk) Clone() *Disk {
	c := *d
	c.fs, c.j = d.fs.Clone(), nil
	c.log, c.cut = slices.Clone(d.log), slices.Clone(d.cut)
	return &c
}

// Open recovers the journal, which has to be a prefix of what was written to it
// and all that became durable; else it returns what is wrong as broken.
func (d *Disk) Open() (rec journal.Recovery, broken, err error) {
	j, rec, err := journal.Open(d.config())
	if err != nil {
		return rec, nil, err
	}
	if rec.Damage != nil {
		return rec, nil, rec.Damage
	}
	d.j = j
	if d.rotten {
		return rec, errors.New("rotten octets were not noticed"), nil
	}
	at, ok := d.PositionAt(rec.End.LSN)
	switch {
	case !ok || at != rec.End:
		broken = fmt.Errorf("recovered to %v, which was never written", rec.End)
	case rec.End.LSN < d.durable:
		broken = fmt.Errorf("recovered to %d, durable was %d", rec.End.LSN, d.durable)
	case d.flushed.LSN > 0:
		if chain, err := j.ChainAt(d.flushed.LSN); err != nil || chain != d.flushed.Chain {
			broken = fmt.Errorf("the index is at %v, the journal has chain %v there: %v", d.flushed, chain, err)
		}
	}
	d.log = d.log[:d.index(rec.End.LSN)]
	d.durable = rec.End.LSN
	return rec, broken, nil
}

// End is the end of the journal.
func (d *Disk) End() cluster.Position { return d.endAt(len(d.log)) }

// Durable is up to where the journal is truly on the platter.
func (d *Disk) Durable() cluster.Position { return d.endAt(d.index(d.durable)) }

func (d *Disk) endAt(n int) cluster.Position {
	if n == 0 {
		return cluster.Position{}
	}
	return d.log[n-1].End
}

// Append writes a batch of our own.
func (d *Disk) Append(h journal.Head, recs []journal.Record) (*Batch, error) {
	b, err := d.j.Append(h, recs)
	return d.wrote(b, err)
}

// AppendRaw writes the master's octets.
func (d *Disk) AppendRaw(raw []byte) (*Batch, error) {
	b, err := d.j.AppendRaw(raw)
	return d.wrote(b, err)
}

func (d *Disk) wrote(b journal.Batch, err error) (*Batch, error) {
	d.synced()
	if err != nil {
		return nil, err
	}
	x := decode(b, d.last())
	d.log = append(d.log, x)
	return x, nil
}

func (d *Disk) last() *Batch {
	if len(d.log) == 0 {
		return nil
	}
	return d.log[len(d.log)-1]
}

// Sync makes the journal durable.
func (d *Disk) Sync() (cluster.LSN, error) {
	lsn, err := d.j.Sync()
	d.synced()
	return lsn, err
}

func (d *Disk) synced() { d.durable = max(d.durable, d.j.Durable()) }

// Read returns the batch at lsn, read back from the journal.
func (d *Disk) Read(lsn cluster.LSN) (journal.Batch, error) {
	for b, err := range d.j.Batches(lsn, 1) {
		return b, err
	}
	return journal.Batch{}, journal.ErrBeyond
}

// Truncate cuts the journal durably and keeps what it cuts.
func (d *Disk) Truncate(to cluster.LSN) error {
	n := d.index(to)
	d.cut = append(d.cut, d.log[n:]...)
	d.durable = min(d.durable, to) // a stop in the middle leaves the old end or this
	if err := d.j.TruncateTo(to); err != nil {
		return err
	}
	d.log = slices.Clone(d.log[:n])
	return nil
}

// index returns how many batches end at or below lsn.
func (d *Disk) index(lsn cluster.LSN) int {
	return sort.Search(len(d.log), func(i int) bool { return d.log[i].End.LSN > lsn })
}

// PositionAt returns the position of a batch border.
func (d *Disk) PositionAt(lsn cluster.LSN) (cluster.Position, bool) {
	p := d.endAt(d.index(lsn))
	return p, p.LSN == lsn
}

// Batch returns the batch that begins at lsn, nil if there is none.
func (d *Disk) Batch(lsn cluster.LSN) *Batch {
	if n := d.index(lsn); n < len(d.log) && d.log[n].Base == lsn {
		return d.log[n]
	}
	return nil
}

// Kill ends the process. The page cache stays; what a failed sync called clean may
// have left it.
func (d *Disk) Kill(rng *rand.Rand) {
	d.j = nil
	d.fs.FailSyncs(0)
	if rng.IntN(2) == 0 {
		d.fs.Evict()
	}
}

// PowerLoss ends the machine: what is durable is left and a part of the rest.
func (d *Disk) PowerLoss(rng *rand.Rand) {
	d.j = nil
	d.fs.PowerLoss(rng)
}

// flip inverts one bit of the journal.
func (d *Disk) flip(at cluster.LSN, bit uint) {
	const segmentHeader = 4096
	names, _ := d.fs.List(journalDir)
	for _, name := range slices.Backward(names) {
		hex, ok := strings.CutSuffix(name, ".seg")
		base, err := strconv.ParseUint(hex, 16, 64)
		if ok && err == nil && base <= uint64(at) {
			d.fs.Flip(journalDir+"/"+name, segmentHeader+int64(uint64(at)-base), bit)
			d.rotten = true
			return
		}
	}
}
