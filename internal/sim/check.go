package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
)

// checker asserts the invariants. The numbers are those of
// docs/protocol/replication.md.
type checker struct {
	w     *World
	fails []string

	committed map[place]cluster.Chain     // every batch any slot ever committed
	names     map[batchName]cluster.Chain // (epoch, LSN) -> batch
	owners    map[cluster.Epoch]owner
	appointed map[cluster.Epoch]owner
	commits   map[*Slot]cluster.LSN // highest commit a slot ever knew
	checked   map[*Slot]cluster.LSN // commit checked in this incarnation
	adopted   map[*Slot]cluster.Epoch

	acked      cluster.Position // highest acknowledged
	ackedOps   []OpID
	refusedOps map[OpID]bool // never taken in: must not be in a journal
	uids       map[uint64]OpID
	forced     forcedEpoch
	reads      int
	appoints   int
}

// place is where a batch of one history begins. Histories part only where a
// forced epoch begins.
type place struct {
	line cluster.Chain
	base cluster.LSN
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
		w: w, committed: map[place]cluster.Chain{}, names: map[batchName]cluster.Chain{},
		owners: map[cluster.Epoch]owner{}, appointed: map[cluster.Epoch]owner{}, commits: map[*Slot]cluster.LSN{}, checked: map[*Slot]cluster.LSN{},
		adopted: map[*Slot]cluster.Epoch{}, refusedOps: map[OpID]bool{}, uids: map[uint64]OpID{},
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
		if old.Epoch != 0 && !old.IsInSync(next.Master) {
			if f := c.w.forcing; next.Forced != next.Epoch || f == nil || f.target.id != next.Master {
				c.fail(7, "epoch %d: master %s was not in the set of epoch %d", next.Epoch, c.w.nameOf(next.Master), old.Epoch)
			}
			c.leave(next.Epoch)
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
		lost := (s.disk.rotten || s.destroyed) && s.core != nil && s.core.State().Streaming
		if next.Epoch > old.Epoch && next.Master == s.id && s.kind != replica.Full {
			c.fail(16, "slot %s of kind %d was promoted", s.name, s.kind)
		}
		if joins && (lost || s.kind == replica.Async) {
			c.fail(16, "slot %s joined the set: rotten %v, destroyed %v, kind %d", s.name, s.disk.rotten, s.destroyed, s.kind)
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

// truncate: invariant 5. A history that a forced epoch left may be cut.
func (c *checker) truncate(s *Slot, to cluster.LSN) {
	if to >= c.commits[s] {
		return
	}
	if !s.destroyed && c.forced.epoch <= s.disk.End().Epoch {
		c.fail(5, "slot %s truncates to %d, its commit was %d", s.name, to, c.commits[s])
	}
	c.commits[s] = to
}

// kept: what a truncation cut is beside the journal.
func (c *checker) kept(s *Slot, to cluster.LSN, tail []*Batch) {
	if len(tail) == 0 {
		return
	}
	names, _ := s.disk.fs.List(journalDir)
	want := fmt.Sprintf("%016x-%016x-", uint64(to), uint64(tail[len(tail)-1].End.LSN))
	if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, want) }) {
		c.fail(5, "slot %s cut %d to %d and kept nothing: %v", s.name, to, tail[len(tail)-1].End.LSN, names)
	}
	c.w.setAside(tail)
}

// applied: invariants 10 and 12, what is applied at an LSN is the same everywhere,
// and a number names one operation in all histories.
func (c *checker) applied(s *Slot, b *Batch) {
	if chain, ok := c.committed[place{b.Line, b.Base}]; ok && chain != b.End.Chain {
		c.fail(10, "slot %s applied another batch at %d", s.name, b.Base)
	}
	for _, op := range b.Ops {
		uid := s.machine.uids[op]
		if other, ok := c.uids[uid]; ok && other != op {
			c.fail(12, "slot %s gave number %d to operation %d, it is that of %d", s.name, uid, op, other)
		}
		c.uids[uid] = op
	}
}

// answered: an operation was answered OK.
func (c *checker) answered(s *Slot, x write) {
	if x.epoch < c.forced.epoch {
		c.forced.atRisk = append(c.forced.atRisk, x.op)
		return
	}
	c.ackedOps = append(c.ackedOps, x.op)
	if x.end > c.acked.LSN {
		c.acked, _ = s.disk.PositionAt(x.end)
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
	if s.machine.applied > lsn {
		c.fail(4, "slot %s applied %d, commit %d", s.name, s.machine.applied, lsn)
	}
	if at, ok := s.disk.PositionAt(s.disk.flushed.LSN); !ok || at != s.disk.flushed {
		c.fail(4, "slot %s: index at %v, journal has %v and ends at %v", s.name, s.disk.flushed, at, s.disk.End())
	}
	for at := c.checked[s]; at < lsn; {
		b := s.disk.Batch(at)
		if b == nil {
			c.fail(4, "slot %s: no batch at %d below commit %d", s.name, at, lsn)
			return
		}
		if chain, ok := c.committed[place{b.Line, at}]; ok && chain != b.End.Chain {
			c.fail(2, "slot %s committed another batch at %d", s.name, at)
			return
		}
		c.committed[place{b.Line, at}] = b.End.Chain
		at = b.End.LSN
	}
	if e := s.core.Epoch(); e != 0 && lsn > c.checked[s] && lsn > c.commits[s] {
		c.machines(s, lsn)
		if e < c.forced.epoch && c.forced.serves {
			c.fail(2, "slot %s commits %d under epoch %d, forced epoch %d serves", s.name, lsn, e, c.forced.epoch)
		}
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
			seen[o.host] = true
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
	if c.acked.LSN == 0 || c.w.coord.rewound {
		return
	}
	for _, o := range c.w.slots {
		if !c.w.coord.record.IsInSync(o.id) || o.destroyed {
			continue
		}
		if d := o.disk.Durable(); d.LSN < c.acked.LSN {
			c.fail(1, "slot %s is in the set and durable to %d; %d was acknowledged", o.name, d.LSN, c.acked.LSN)
			return
		}
		if at, _ := o.disk.PositionAt(c.acked.LSN); at != c.acked {
			c.fail(1, "slot %s is in the set and has another history at %d", o.name, c.acked.LSN)
			return
		}
	}
}

// acknowledgement is what had been acknowledged at some time.
type acknowledgement struct {
	at    cluster.Position
	under cluster.Epoch // forced epoch whose history it is in
}

func (c *checker) acknowledged() acknowledgement { return acknowledgement{c.acked, c.forced.epoch} }

// read: invariant 13. began is what had been acknowledged when the read began.
func (c *checker) read(s *Slot, began acknowledgement) {
	c.reads++
	if began.under != c.forced.epoch {
		return // that history was left meanwhile
	}
	at, ok := s.disk.PositionAt(began.at.LSN)
	if s.machine.applied < began.at.LSN || !ok || at != began.at {
		c.fail(13, "slot %s served a read at %d of %v; %v had been acknowledged before it began", s.name, s.machine.applied, at, began.at)
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
	for _, op := range slices.Concat(c.ackedOps, c.forced.atRisk) {
		if !m.machine.has(op) {
			c.fail(14, "operation %d was acknowledged and is not there", op)
		}
	}
	for op := range c.refusedOps {
		if m.machine.has(op) {
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

// forcedEpoch is the newest forced failover.
type forcedEpoch struct {
	epoch  cluster.Epoch // 0: there was none
	serves bool
	atRisk []OpID // acknowledged in a history that was left
}

// leave: a forced epoch leaves a history. What was acknowledged in it may be
// missing until its tail comes back, and nothing else may.
func (c *checker) leave(e cluster.Epoch) {
	c.forced = forcedEpoch{epoch: e, atRisk: append(c.forced.atRisk, c.ackedOps...)}
	c.ackedOps, c.acked = nil, cluster.Position{}
}

func (c *checker) serves(_ *Slot, e cluster.Epoch) {
	c.forced.serves = c.forced.serves || e >= c.forced.epoch && c.forced.epoch != 0
}

func contains(ids []cluster.SlotID, id cluster.SlotID) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}
