package replica

import (
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// follow is a replica's side of the stream, and of a candidature.
type follow struct {
	session Session // the one the last Hello went out in; 0 if none
	stream  uint64
	streams uint64 // last stream number drawn
	epoch   cluster.Epoch
	helloAt time.Duration

	welcome    *Welcome // accepted, not acted on yet
	truncating bool
	streaming  bool // the journal is a prefix of the master's: acknowledgements are true
	commit     cluster.LSN

	heard       time.Duration // last frame of the stream
	stamp       time.Duration // newest heartbeat's
	toldDurable cluster.LSN
	ackDue      bool

	nominated *nomination
}

// reset forgets the stream, not the nomination.
func (f *follow) reset() {
	*f = follow{streams: f.streams, nominated: f.nominated, truncating: f.truncating, helloAt: f.helloAt}
}

// settleHandover says Hello to the record's master in the epoch adopted, and
// acts on its Welcome.
func (c *Core) settleHandover() {
	if !roles[c.role].acks {
		return
	}
	r, f := c.coord.record, &c.follow
	if f.session != 0 && f.epoch != c.epochs.promised {
		f.reset() // a higher epoch: nothing of the old stream counts
		f.helloAt = 0
	}
	if f.streaming && c.now >= f.heard+c.cfg.Timing.Stall {
		c.closeSession(f.session, "the master is silent")
	}
	c.actOnWelcome()
	if f.truncating || f.streaming || f.welcome != nil || !c.actsIn(r.Epoch) || r.Master == c.cfg.Slot || c.log.appending > 0 {
		return
	}
	s := c.newestSession(r.Master)
	waited := f.helloAt == 0 || c.now >= f.helloAt+c.cfg.Timing.Handshake
	if s == 0 || (s == f.session && !waited) {
		return
	}
	c.hello(s)
}

func (c *Core) hello(s Session) {
	f := &c.follow
	f.reset()
	f.streams++
	f.session, f.stream, f.epoch, f.helloAt = s, f.streams, c.epochs.adopted, c.now
	c.send(s, Hello{
		Cluster: c.cfg.Cluster, Generation: c.coord.record.Generation, Store: c.cfg.Store,
		Slot: c.cfg.Slot, Kind: c.cfg.Kind, Health: c.health,
		Incarnation: c.incarnation, Counter: c.counter, Stream: f.stream,
		Epoch: c.epochs.adopted, Low: c.log.low, End: c.log.end,
		Commit: c.log.commit, Applied: c.log.applied, Starts: c.log.starts,
	})
}

// ours reports whether a frame belongs to the stream last asked for.
func (c *Core) ours(s Session, stream uint64, epoch cluster.Epoch) bool {
	f := &c.follow
	return s != 0 && s == f.session && stream == f.stream && epoch == f.epoch && c.actsIn(epoch)
}

func (c *Core) onWelcome(s Session, w Welcome) {
	f := &c.follow
	if !c.ours(s, w.Stream, w.Epoch) || f.streaming || f.welcome != nil {
		return // a refusal under a higher epoch came with the record
	}
	switch w.Answer {
	case Accept:
		f.welcome = &w
	case Reseed:
		c.fail(NeedsReseed, w.Reason)
	case Apart:
		c.fail(Diverged, w.Reason)
	case Refuse:
		c.emit(Told{Text: "master refuses: " + w.Reason})
	}
}

// actOnWelcome cuts our tail where the histories part. Below commit or applied
// that is never done: it would be a contradiction, for people to solve.
func (c *Core) actOnWelcome() {
	f, l := &c.follow, &c.log
	if f.welcome == nil || f.truncating || l.appending > 0 {
		return
	}
	at := f.welcome.Start.LSN
	switch {
	case at >= l.end.LSN || c.mutated(SkipTruncate):
		c.checkStart()
	case at < max(l.commit, l.applied) && !c.mutated(TruncateBelowCommit):
		c.fail(Diverged, fmt.Sprintf("the master's history parts at %d, commit %d, applied %d", at, l.commit, l.applied))
	case !l.syncing: // a sync under way would answer for octets that are cut
		f.truncating = true
		c.emit(Truncate{To: at})
	}
}

// checkStart compares the chain where the stream begins: then our journal is a
// prefix of the master's, and acknowledging is true.
func (c *Core) checkStart() {
	f := &c.follow
	if f.welcome == nil {
		return // the session went away while truncating
	}
	start := f.welcome.Start
	f.welcome = nil
	if (start.LSN != c.log.end.LSN || start.Chain != c.log.end.Chain) && !c.mutated(SkipTruncate) {
		c.fail(ChainMismatch, fmt.Sprintf("journal ends at %d with chain %v, master has %d with chain %v", c.log.end.LSN, c.log.end.Chain, start.LSN, start.Chain))
		return
	}
	f.streaming, f.ackDue, f.heard = true, true, c.now
}

// onBatch appends the master's octets at the master's LSN.
func (c *Core) onBatch(s Session, b Batch) {
	if !c.ours(s, b.Stream, b.Epoch) || !roles[c.role].acks {
		return
	}
	f, l := &c.follow, &c.log
	if !f.streaming {
		c.closeSession(s, "batch before the handshake was finished")
		return
	}
	if b.Base != l.next || b.End <= b.Base {
		c.closeSession(s, fmt.Sprintf("batch at %d, journal ends at %d", b.Base, l.next))
		return
	}
	f.heard = c.now
	l.appending++
	l.next = b.End
	f.commit = max(f.commit, b.Commit)
	c.emit(AppendRaw{Base: b.Base, Raw: b.Raw})
}

func (c *Core) onHeartbeat(s Session, h Heartbeat) {
	if h.Epoch < c.epochs.adopted {
		c.send(s, Record{Rev: c.coord.rev, Record: c.coord.record}) // it may be cut off from the coordinator
	}
	if !c.ours(s, h.Stream, h.Epoch) || !roles[c.role].acks {
		return
	}
	f := &c.follow
	f.heard = c.now
	f.commit = max(f.commit, h.Commit)
	f.stamp = max(f.stamp, h.Stamp)
	f.ackDue = true
}

// settleAck acknowledges what is durable here. A replica that is far behind in
// applying stops, so that the master sees it stall.
func (c *Core) settleAck() {
	f, l := &c.follow, &c.log
	if !f.streaming || !roles[c.role].acks {
		return
	}
	durable := l.durable
	if c.cfg.Kind != LogOnly && l.commit > l.applied+maxApplyLag {
		durable = min(durable, f.toldDurable)
	}
	if !f.ackDue && durable <= f.toldDurable {
		return
	}
	f.ackDue, f.toldDurable = false, durable
	c.vouched = c.now
	c.send(f.session, Ack{Stream: f.stream, Epoch: f.epoch, Durable: durable, Applied: l.applied, Stamp: f.stamp, Space: c.space})
}
