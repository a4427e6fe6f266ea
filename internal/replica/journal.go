package replica

import (
	"fmt"
	"slices"

	"github.com/tandemail/tandemail/internal/cluster"
)

// logState is what the Core knows of its own journal.
// applied <= commit <= durable <= end.Position.
type logState struct {
	low      cluster.LSN
	end      cluster.Position
	durable  cluster.LSN
	commit   cluster.LSN
	applied  cluster.LSN
	applying cluster.LSN // the last ApplyTo
	starts   []EpochStart

	appending int         // appends emitted and not answered
	next      cluster.LSN // end once those are answered
	syncing   bool
}

func (c *Core) onOpened(e Opened) {
	c.incarnation, c.counter, c.health = e.Incarnation, e.Counter, e.Health
	c.vouched = c.now // what an earlier run confirmed is not known: assume now
	c.log = logState{
		low: e.Low, end: e.End, durable: e.End.LSN, next: e.End.LSN,
		commit: max(e.Commit, e.Applied), applied: e.Applied, applying: e.Applied,
		starts: slices.Clone(e.Starts),
	}
	c.trimStarts()
	c.epochs = epochState{adopted: e.Adopted, promised: e.Adopted}
	c.coord.record, c.coord.rev, c.coord.coordRev = e.Record, e.Rev, e.CoordRev
	c.coord.wantRead = true
	if e.Health == Damaged || c.log.commit > e.End.LSN {
		c.fail(DamagedJournal, fmt.Sprintf("journal ends at %d, commit known to %d, applied to %d", e.End.LSN, e.Commit, e.Applied))
		return
	}
	c.applyCommitted()
}

func (c *Core) trimStarts() {
	if n := len(c.log.starts); n > maxStarts {
		c.log.starts = slices.Clone(c.log.starts[n-maxStarts:])
	}
}

// onAppended notes a batch: raw from the master, a record, or client operations.
func (c *Core) onAppended(e Appended) {
	l := &c.log
	if e.Base != l.end.LSN {
		panic(fmt.Sprintf("replica: batch appended at %d, journal ends at %d", e.Base, l.end.LSN))
	}
	if n := len(l.starts); n == 0 || l.starts[n-1].Epoch < e.End.Epoch {
		l.starts = append(l.starts, EpochStart{Epoch: e.End.Epoch, LSN: e.Base, Chain: l.end.Chain})
		c.trimStarts()
	}
	l.end = e.End
	l.next = max(l.next, e.End.LSN)
	if l.appending > 0 {
		l.appending--
	}
	if c.master != nil {
		c.master.appended(e)
	}
}

func (c *Core) onAppendRefused(e AppendRefused) {
	c.log.appending = 0
	c.log.next = c.log.end.LSN
	if c.follow.session != 0 {
		c.closeSession(c.follow.session, e.Reason)
	}
}

func (c *Core) onDurable(e Durable) {
	c.log.syncing = false
	c.log.durable = max(c.log.durable, min(e.LSN, c.log.end.LSN))
}

// onDiskFailed: rule "failed sync". What the kernel kept of the file is unknown,
// so nothing this open believes about it may be used.
func (c *Core) onDiskFailed(e DiskFailed) {
	if c.mutated(IgnoreFailedSync) {
		c.onDurable(Durable{LSN: c.log.end.LSN})
		return
	}
	c.endIncarnation("disk: " + e.Reason)
}

func (c *Core) onTruncated(e Truncated) {
	l := &c.log
	l.end, l.next = e.End, e.End.LSN
	l.durable = min(l.durable, e.End.LSN)
	for len(l.starts) > 0 && l.starts[len(l.starts)-1].LSN >= e.End.LSN {
		l.starts = l.starts[:len(l.starts)-1]
	}
	c.follow.truncating = false
	c.checkStart()
}

// settleSync keeps one sync going while anything is not durable: what arrives
// meanwhile shares the next one.
func (c *Core) settleSync() {
	if !c.log.syncing && c.log.durable < c.log.end.LSN && !c.follow.truncating {
		c.log.syncing = true
		c.emit(Sync{})
	}
}

// applyCommitted hands committed batches to the state machine (rule: apply only
// after commit).
func (c *Core) applyCommitted() {
	to := c.log.commit
	if c.mutated(ApplyBeforeCommit) && c.role != RoleIdle {
		to = c.log.durable
	}
	if to > c.log.applying {
		c.log.applying = to
		c.emit(ApplyTo{LSN: to})
	}
}
