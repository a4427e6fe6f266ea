package replica

import (
	"fmt"
	"slices"

	"github.com/tandemail/tandemail/internal/cluster"
)

// onHello keeps the newest Hello of a session until it can be decided: a slot
// that is about to become master answers those that came early.
func (c *Core) onHello(s *session, h Hello) {
	if h.Slot != s.peer {
		c.closeSession(s.id, fmt.Sprintf("slot %v speaks in the session of %v", h.Slot, s.peer))
		return
	}
	s.hello = &h
	if h.Epoch > c.coord.record.Epoch {
		c.coord.wantRead = true // somebody knows more than we do
	}
}

// settlePeers answers the Hellos that can be answered now.
func (c *Core) settlePeers() {
	for i := range c.sessions {
		s := &c.sessions[i]
		if s.hello == nil {
			continue
		}
		h := *s.hello
		switch {
		case c.master != nil && h.Epoch == c.master.epoch:
			s.hello = nil
			c.greet(s.id, h)
		case h.Epoch < c.epochs.adopted:
			s.hello = nil
			c.send(s.id, Record{Rev: c.coord.rev, Record: c.coord.record})
			c.refuse(s.id, h, fmt.Sprintf("epoch %d is over", h.Epoch))
		}
	}
}

func (c *Core) refuse(s Session, h Hello, reason string) {
	c.send(s, Welcome{Stream: h.Stream, Epoch: c.epochs.adopted, Answer: Refuse, Reason: reason})
}

// greet decides on a Hello of our epoch (rule: handshake).
func (c *Core) greet(s Session, h Hello) {
	if why := c.stranger(h); why != "" {
		c.refuse(s, h, why)
		return
	}
	if why := c.usedCounter(h); why != "" {
		c.send(s, Welcome{Stream: h.Stream, Epoch: c.master.epoch, Answer: Apart, Reason: why})
		return
	}
	p := c.master.peer(h.Slot)
	if h.Incarnation == p.incarnation && h.Stream <= p.stream {
		return // overtaken by a later Hello in another session
	}
	if p.session != 0 {
		c.emit(StopStream{Session: p.session})
	}
	p.detach()
	p.session, p.stream = s, h.Stream
	p.incarnation, p.counter, p.kind, p.health = h.Incarnation, h.Counter, h.Kind, h.Health
	at, answer, why := c.meet(p, h)
	if answer != Accept {
		p.session = 0
		c.send(s, Welcome{Stream: h.Stream, Epoch: c.master.epoch, Answer: answer, Reason: why})
		return
	}
	if pos, ok := c.chainAt(at); ok {
		c.welcome(p, pos)
		return
	}
	p.locating = true
	c.emit(Locate{Session: s, Stream: h.Stream, LSN: at})
}

// stranger explains why a Hello is not from a slot of this store.
func (c *Core) stranger(h Hello) string {
	r := c.coord.record
	switch {
	case h.Cluster != c.cfg.Cluster:
		return fmt.Sprintf("cluster %q, not %q", h.Cluster, c.cfg.Cluster)
	case h.Store != c.cfg.Store:
		return fmt.Sprintf("store %q, not %q", h.Store, c.cfg.Store)
	case h.Generation != r.Generation:
		return fmt.Sprintf("cluster generation %d, not %d", h.Generation, r.Generation)
	case !r.Has(h.Slot) || h.Slot == c.cfg.Slot:
		return fmt.Sprintf("slot %v is none of the store's others", h.Slot)
	}
	return ""
}

// usedCounter explains why a Hello comes from an older disk or a clone: another
// incarnation has used its open counter, or a later one.
func (c *Core) usedCounter(h Hello) string {
	if c.mutated(IgnoreCounter) {
		return ""
	}
	ref, _ := c.coord.record.Ref(h.Slot)
	if h.Counter < ref.Counter {
		return fmt.Sprintf("open counter %d, but %d is recorded: an older disk or a clone", h.Counter, ref.Counter)
	}
	p := c.master.peer(h.Slot)
	if h.Counter < p.counter || (h.Counter == p.counter && h.Incarnation != p.incarnation) {
		return fmt.Sprintf("open counter %d, but another incarnation came with %d: an older disk or a clone", h.Counter, p.counter)
	}
	return ""
}

// meet returns where the stream may begin, or why it may not.
func (c *Core) meet(p *peer, h Hello) (cluster.LSN, Answer, string) {
	at, ok := common(c.history(), history{h.Low, h.Starts, h.End.LSN})
	if c.mutated(SkipTruncate) {
		at, ok = min(h.End.LSN, c.log.end.LSN), true
	}
	if c.isRequired(h.Slot) && at < c.log.commit && !c.mutated(IgnoreCounter) {
		p.lost = true // it confirmed more than it has: an older disk, lost pages
		return 0, Reseed, fmt.Sprintf("a member of the set, but %d octets short of commit %d", c.log.commit-at, c.log.commit)
	}
	p.lost = false
	switch {
	case !ok || at < max(c.log.low, h.Low):
		return 0, Reseed, fmt.Sprintf("no common journal is left above %d", max(c.log.low, h.Low))
	case at < max(h.Commit, h.Applied) && !c.mutated(TruncateBelowCommit):
		return 0, Apart, fmt.Sprintf("histories part at %d, below commit %d or applied %d", at, h.Commit, h.Applied)
	}
	return at, Accept, ""
}

func (c *Core) isRequired(id cluster.SlotID) bool { return slices.Contains(c.Required(), id) }

func (c *Core) onLocated(e Located) {
	if c.master == nil {
		return
	}
	p := c.master.bySession(e.Session, e.Stream)
	if p == nil || !p.locating {
		return
	}
	p.locating = false
	if !e.Found {
		p.session = 0
		c.send(e.Session, Welcome{Stream: e.Stream, Epoch: c.master.epoch, Answer: Reseed, Reason: "no common journal is left: it was trimmed"})
		return
	}
	c.welcome(p, e.At)
}

func (c *Core) welcome(p *peer, at cluster.Position) {
	p.streaming = true
	if !c.coord.record.IsInSync(p.slot) {
		p.progress = max(p.progress, c.now) // a member that comes again and again has made none
	}
	m := c.master
	c.send(p.session, Welcome{Stream: p.stream, Epoch: m.epoch, Answer: Accept, Start: at})
	c.emit(StartStream{Session: p.session, Stream: p.stream, Epoch: m.epoch, From: at.LSN})
	c.send(p.session, Heartbeat{Stream: p.stream, Epoch: m.epoch, Commit: c.log.commit, Stamp: c.now})
	m.stamp = c.now
}

// onAck takes what a replica confirms. Only the stream it belongs to counts.
func (c *Core) onAck(s Session, a Ack) {
	m := c.master
	if m == nil || a.Epoch != m.epoch {
		return
	}
	p := m.bySession(s, a.Stream)
	if p == nil || !p.streaming {
		return
	}
	if a.Durable > c.log.end.LSN || a.Stamp > m.stamp {
		c.closeSession(s, fmt.Sprintf("acknowledged %d, the journal ends at %d", a.Durable, c.log.end.LSN))
		return
	}
	if a.Durable > p.durable {
		p.durable = a.Durable
		c.emit(StreamAcked{Session: s, LSN: a.Durable})
	}
	if p.durable > p.reached || p.durable == c.log.end.LSN && a.Stamp > p.stamp {
		p.reached, p.progress = max(p.reached, p.durable), c.now
	}
	p.stamp, p.applied, p.space = max(p.stamp, a.Stamp), a.Applied, a.Space
}
