package sim

import (
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
)

// checker asserts the invariants. The numbers are those of
// docs/protocol/replication.md.
type checker struct {
	w     *World
	fails []string

	committed map[cluster.LSN]cluster.Chain // by base: every batch any slot ever committed
	names     map[batchName]cluster.Chain   // (epoch, LSN) -> batch
	owners    map[cluster.Epoch]owner
	appointed map[cluster.Epoch]owner
	commits   map[*Slot]cluster.LSN // highest commit a slot ever knew
	checked   map[*Slot]cluster.LSN // commit checked in this incarnation
	adopted   map[*Slot]cluster.Epoch

	ackedEnd   cluster.LSN // highest acknowledged
	ackedChain cluster.Chain
	ackedOps   []OpID
	refusedOps map[OpID]bool // never taken in: must not be in a journal
	reads      int
	appoints   int
}

type batchName struct {
	epoch cluster.Epoch
	lsn   cluster.LSN
}

type owner struct {
	slot cluster.SlotID
	inc  cluster.Incarnation
}

func newChecker(w *World) *checker {
	return &checker{
		w: w, committed: map[cluster.LSN]cluster.Chain{}, names: map[batchName]cluster.Chain{},
		owners: map[cluster.Epoch]owner{}, appointed: map[cluster.Epoch]owner{}, commits: map[*Slot]cluster.LSN{}, checked: map[*Slot]cluster.LSN{},
		adopted: map[*Slot]cluster.Epoch{}, refusedOps: map[OpID]bool{},
	}
}

func (c *checker) fail(invariant int, format string, args ...any) {
	if len(c.fails) == 0 {
		msg := fmt.Sprintf("invariant %d: %s", invariant, fmt.Sprintf(format, args...))
		c.fails = append(c.fails, msg)
		c.w.note("check", "!!", msg)
	}
}

// opened: an incarnation begins.
func (c *checker) opened(s *Slot) {
	c.checked[s] = 0
	if e := s.disk.promise.Epoch; e < c.adopted[s] {
		c.fail(6, "slot %s adopted epoch %d and opens with %d", s.name, c.adopted[s], e)
	}
}

// recordStep: invariants 7 and 16, on the coordinator itself.
func (c *checker) recordStep(old, next cluster.StoreRecord) {
	if err := next.Validate(); err != nil {
		c.fail(7, "%v", err)
	}
	if next.Generation > old.Generation {
		return
	}
	if next.Epoch > old.Epoch {
		c.appoints++
		if old.Epoch != 0 && next.Forced != next.Epoch && !old.IsInSync(next.Master) {
			c.fail(7, "epoch %d: master %s was not in the set of epoch %d", next.Epoch, c.w.nameOf(next.Master), old.Epoch)
		}
		me := owner{next.Master, next.Incarnation}
		again := c.appointed[next.Epoch] == me // a retry after a lost answer says the same twice
		c.appointed[next.Epoch] = me
		if k := c.w.coord; k.rewound && k.prev < k.peak && !again { // above it, nothing can tell
			c.fail(16, "epoch %d began on a coordinator that went back", next.Epoch)
		}
	}
	for _, s := range c.w.slots {
		joins := next.IsInSync(s.id) && !old.IsInSync(s.id)
		// One that was lost only after it had confirmed may still be proposed.
		lost := (s.disk.damaged || s.destroyed) && s.core != nil && s.core.State().Streaming
		if next.Epoch > old.Epoch && next.Master == s.id && s.kind != replica.Full {
			c.fail(16, "slot %s of kind %d was promoted", s.name, s.kind)
		}
		if joins && (lost || s.kind == replica.Async) {
			c.fail(16, "slot %s joined the set: damaged %v, destroyed %v, kind %d", s.name, s.disk.damaged, s.destroyed, s.kind)
		}
	}
}

// appended: invariant 3.
func (c *checker) appended(s *Slot, b *Batch) {
	name := batchName{b.End.Epoch, b.Base}
	if chain, ok := c.names[name]; ok && chain != b.End.Chain {
		c.fail(3, "epoch %d LSN %d names two batches, one on slot %s", name.epoch, name.lsn, s.name)
	}
	c.names[name] = b.End.Chain
	if e := s.disk.promise.Epoch; e < b.End.Epoch {
		c.fail(6, "slot %s appends under epoch %d, its epoch file says %d", s.name, b.End.Epoch, e)
	}
	if s.core != nil && s.core.Epoch() == b.End.Epoch {
		me := owner{s.id, s.incarnation}
		if o, ok := c.owners[b.End.Epoch]; ok && o != me {
			c.fail(3, "epoch %d belongs to two incarnations, one on slot %s", b.End.Epoch, s.name)
		}
		c.owners[b.End.Epoch] = me
	}
}

// acts: invariant 6, nothing is said under an epoch that is not durable.
func (c *checker) acts(s *Slot, f replica.Frame) {
	var e cluster.Epoch
	switch f := f.(type) {
	case replica.Hello:
		e = f.Epoch
	case replica.Welcome:
		e = f.Epoch
	case replica.Ack:
		e = f.Epoch
	case replica.Heartbeat:
		e = f.Epoch
	}
	c.adopted[s] = max(c.adopted[s], e)
	if have := s.disk.promise.Epoch; e > have {
		c.fail(6, "slot %s says %T under epoch %d, its epoch file says %d", s.name, f, e, have)
	}
}

// truncate: invariant 5.
func (c *checker) truncate(s *Slot, to cluster.LSN) {
	if !s.destroyed && to < c.commits[s] {
		c.fail(5, "slot %s truncates to %d, its commit was %d", s.name, to, c.commits[s])
	}
}

// applied: invariant 10, what is applied at an LSN is the same everywhere.
func (c *checker) applied(s *Slot, b *Batch) {
	if chain, ok := c.committed[b.Base]; ok && chain != b.End.Chain {
		c.fail(10, "slot %s applied another batch at %d", s.name, b.Base)
	}
}

// acked: an operation was answered OK.
func (c *checker) acked(s *Slot, x write) {
	c.ackedOps = append(c.ackedOps, x.op)
	if x.end > c.ackedEnd {
		at, _ := s.disk.PositionAt(x.end)
		c.ackedEnd, c.ackedChain = x.end, at.Chain
	}
	c.always(s)
}

// after runs the checks that hold between any two events.
func (c *checker) after(s *Slot) {
	if len(c.fails) > 0 {
		return
	}
	if s.core != nil {
		c.commit(s)
		c.required(s)
	}
	c.always(s)
}

// commit: invariants 2, 4 and 9.
func (c *checker) commit(s *Slot) {
	lsn := s.core.Commit()
	if durable := s.disk.Durable().LSN; lsn > durable && !s.destroyed {
		c.fail(4, "slot %s knows commit %d, durable is %d", s.name, lsn, durable)
	}
	if s.applied > lsn {
		c.fail(4, "slot %s applied %d, commit %d", s.name, s.applied, lsn)
	}
	if s.disk.flushed > s.disk.End().LSN {
		c.fail(4, "slot %s: index at %d, journal ends at %d", s.name, s.disk.flushed, s.disk.End().LSN)
	}
	for at := c.checked[s]; at < lsn; {
		b := s.disk.Batch(at)
		if b == nil {
			c.fail(4, "slot %s: no batch at %d below commit %d", s.name, at, lsn)
			return
		}
		if chain, ok := c.committed[at]; ok && chain != b.End.Chain {
			c.fail(2, "slot %s committed another batch at %d", s.name, at)
			return
		}
		c.committed[at] = b.End.Chain
		at = b.End.LSN
	}
	if s.core.Epoch() != 0 && lsn > c.checked[s] && lsn > c.commits[s] {
		c.machines(s, lsn)
	}
	c.checked[s] = max(c.checked[s], lsn)
	c.commits[s] = max(c.commits[s], lsn)
}

// machines: invariant 9.
func (c *checker) machines(s *Slot, lsn cluster.LSN) {
	at, _ := s.disk.PositionAt(lsn)
	seen := map[cluster.Machine]bool{}
	for _, o := range c.w.slots {
		p, ok := o.disk.PositionAt(lsn)
		held := ok && p.Chain == at.Chain && o.disk.Durable().LSN >= lsn
		if held || (o.destroyed && c.w.coord.record.IsInSync(o.id)) { // it held it when it confirmed
			seen[o.machine] = true
		}
	}
	if want := max(c.w.cfg.MinInSync, 1); len(seen) < want {
		c.fail(9, "slot %s committed %d on %d machines of %d", s.name, lsn, len(seen), want)
	}
}

// required: invariant 8.
func (c *checker) required(s *Slot) {
	r := &c.w.coord.record
	if s.core.Epoch() == 0 || s.core.Epoch() != r.Epoch || r.Incarnation != s.incarnation || c.w.coord.rewound {
		return
	}
	have := s.core.Required()
	for _, id := range r.InSync {
		if !contains(have, id) {
			c.fail(8, "the record's set has %s, master %s does not require it", c.w.nameOf(id), s.name)
		}
	}
}

// always: invariant 1, for every slot of the recorded set.
func (c *checker) always(*Slot) {
	if c.ackedEnd == 0 || c.w.coord.rewound {
		return
	}
	for _, o := range c.w.slots {
		if !c.w.coord.record.IsInSync(o.id) || o.destroyed {
			continue
		}
		if d := o.disk.Durable(); d.LSN < c.ackedEnd {
			c.fail(1, "slot %s is in the set and durable to %d; %d was acknowledged", o.name, d.LSN, c.ackedEnd)
			return
		}
		if at, _ := o.disk.PositionAt(c.ackedEnd); at.Chain != c.ackedChain {
			c.fail(1, "slot %s is in the set and has another history at %d", o.name, c.ackedEnd)
			return
		}
	}
}

// read: invariant 13. began is what had been acknowledged when the read began.
func (c *checker) read(s *Slot, began cluster.LSN) {
	c.reads++
	if s.applied < began {
		c.fail(13, "slot %s served a read at %d; %d had been acknowledged before it began", s.name, s.applied, began)
	}
}

// settled: invariants 14 and 17, when faults have stopped and time has passed.
func (c *checker) settled() {
	if len(c.fails) > 0 {
		return
	}
	m := c.w.master()
	if m == nil || !m.serving || m.core.CanAppend(m.now()) != nil {
		c.fail(17, "no writable master: %s", c.w.summary())
		return
	}
	for _, op := range c.ackedOps {
		if !m.seen[op] {
			c.fail(14, "operation %d was acknowledged and is not there", op)
		}
	}
	for op := range c.refusedOps {
		if m.seen[op] {
			c.fail(14, "operation %d was refused and took effect", op)
		}
	}
	for _, s := range c.w.slots {
		switch {
		case s.core == nil:
			c.fail(17, "slot %s is not running (%s): %s", s.name, s.problem, c.w.summary())
		case s.disk.End() != m.disk.End():
			c.fail(17, "slot %s is not level: %s", s.name, c.w.summary())
		}
	}
}

func contains(ids []cluster.SlotID, id cluster.SlotID) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}
