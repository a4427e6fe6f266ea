package replica

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// coordState is what the slot knows of the coordinator and has asked it.
type coordState struct {
	record   cluster.StoreRecord
	rev      cluster.Rev // 0: none known
	coordRev cluster.Rev // highest revision of the coordinator ever seen
	checked  bool        // this open's counter was compared with the record
	verified bool        // and is durable: the slot may take part

	proposals []proposal // outcome not known; see required.go
	asked     string     // nonce of the one unanswered ProposeRecord
	askedIn   question
	nonces    uint64
	settled   bool // a read has been answered since the last unknown outcome

	wantRead  bool
	reading   uint64 // the one unanswered ReadRecord; 0 if none
	reads     uint64
	readIn    question
	notBefore time.Duration // of the next question
	confirmed time.Duration // send time of the newest question that confirmed our record
	sealed    cluster.Epoch // this epoch's record was written by the sealed old master
}

// question is what was known when a request to the coordinator was sent. Its
// answer may be overtaken by a watch, so it is measured against that, not against
// what is known when it arrives.
type question struct {
	sent       time.Duration
	generation uint64
	rev        cluster.Rev
	coordRev   cluster.Rev
}

func (c *Core) question() question {
	return question{c.now, c.coord.record.Generation, c.coord.rev, c.coord.coordRev}
}

// older reports whether a linearizable answer shows less than was known when its
// question was sent.
func (q question) older(s sighting) bool {
	return s.record.Generation < q.generation || s.record.Generation == q.generation && (s.rev < q.rev || s.coordRev < q.coordRev)
}

// sighting is a record as some source showed it.
type sighting struct {
	record       cluster.StoreRecord
	rev          cluster.Rev
	prev         cluster.Rev
	coordRev     cluster.Rev
	linearizable bool
	asked        question // if linearizable
}

func (c *Core) onRecordSeen(e RecordSeen) {
	s := sighting{record: e.Record, rev: e.Rev, prev: e.PrevRev, coordRev: e.CoordRev}
	if e.Read != 0 {
		if e.Read != c.coord.reading {
			return
		}
		c.coord.reading = 0
		s.linearizable, s.asked = true, c.coord.readIn
	}
	c.learn(s)
}

func (c *Core) onReadFailed(e ReadFailed) {
	if e.Read == c.coord.reading {
		c.coord.reading = 0
		c.coord.wantRead = true
		c.nominationUnread()
		c.coord.notBefore = c.now + c.cfg.Timing.Retry
	}
}

// settleRead asks for the record when something needs it.
func (c *Core) settleRead() {
	k := &c.coord
	if k.reading != 0 {
		return
	}
	if !k.checked || (!k.settled && len(k.proposals) > 0 && k.asked == "") || c.nominationNeedsRead() || c.loneNeedsRead() || c.sealNeedsRead() {
		k.wantRead = true
	}
	if !k.wantRead || c.now < k.notBefore {
		return
	}
	k.reads++
	k.reading, k.readIn, k.wantRead = k.reads, c.question(), false
	k.notBefore = c.now + c.cfg.Timing.Retry
	c.emit(ReadRecord{Read: k.reading})
}

// learn takes a record in: newer ones are adopted if they are a legal step, a
// linearizable old one means that the coordinator went back.
func (c *Core) learn(s sighting) {
	k := &c.coord
	if p := c.contradiction(s); p != nil {
		c.freeze(*p)
		return
	}
	recovered := s.record.Generation > k.record.Generation
	switch {
	case recovered:
		k.coordRev = s.coordRev
	case s.rev < k.rev || s.record.Generation < k.record.Generation:
		k.wantRead = k.wantRead || s.linearizable // overtaken: ask again
		return
	}
	k.coordRev = max(k.coordRev, s.coordRev)
	if s.rev != k.rev || recovered {
		c.takeRecord(s)
	}
	if s.linearizable {
		c.linearized(s)
	}
}

// contradiction explains why s cannot be believed.
func (c *Core) contradiction(s sighting) *Problem {
	k := &c.coord
	if c.mutated(TrustRewound) && s.rev != 0 {
		return nil
	}
	recovered := s.rev != 0 && s.record.Generation > k.record.Generation
	switch {
	case recovered && s.record.Epoch < k.record.Epoch:
		return &Problem{RecordIllegal, fmt.Sprintf("generation %d began with epoch %d, below %d", s.record.Generation, s.record.Epoch, k.record.Epoch)}
	case recovered:
		return nil // control recover raised the generation: revisions start anew
	case s.linearizable && s.rev != 0 && s.record.Generation < k.record.Generation && s.asked.generation < k.record.Generation:
		return nil // asked before a recovery that has been seen meanwhile
	case c.frozen != nil:
		return c.frozen
	case s.linearizable && s.rev == 0 && s.asked.rev != 0:
		return &Problem{RecordMissing, fmt.Sprintf("the coordinator has no record; revision %d was seen", k.rev)}
	case s.linearizable && s.asked.older(s):
		return &Problem{CoordRewound, fmt.Sprintf("the coordinator shows revision %d of %d; %d of %d were seen before", s.rev, s.coordRev, s.asked.rev, s.asked.coordRev)}
	case s.rev < k.rev || s.record.Generation < k.record.Generation:
		return nil // an old watch or frame
	case s.rev == k.rev && s.rev != 0 && !reflect.DeepEqual(s.record, k.record):
		return &Problem{RecordIllegal, fmt.Sprintf("revision %d has two contents", s.rev)}
	}
	if s.rev == 0 || k.rev == 0 {
		return nil
	}
	return c.illegalStep(s)
}

// illegalStep checks the step from the known record to s. Revisions may have
// been missed; only a step known to be single is checked for "master from the
// old set".
func (c *Core) illegalStep(s sighting) *Problem {
	if c.mutated(KeepEpochOnRestart) {
		return nil
	}
	old := c.coord.record
	if s.prev != c.coord.rev && !s.record.Master.IsZero() {
		old = old.Clone()
		old.InSync = append(old.InSync, s.record.Master)
	}
	if err := old.LegalStep(s.record); err != nil {
		return &Problem{RecordIllegal, err.Error()}
	}
	if c.master != nil && s.record.Epoch == c.master.epoch && !c.proposed(s.record.InSync) {
		return &Problem{RecordIllegal, fmt.Sprintf("the in-sync set of epoch %d was changed, not by its master", c.master.epoch)}
	}
	return nil
}

// takeRecord replaces the known record.
func (c *Core) takeRecord(s sighting) {
	k := &c.coord
	if s.record.Epoch == k.record.Epoch+1 && k.rev != 0 && proposer(s.record.Nonce) == k.record.Incarnation {
		k.sealed = s.record.Epoch // the old master wrote it, so it had sealed itself
	}
	changed := !sameSet(s.record.InSync, k.record.InSync)
	k.record, k.rev = s.record.Clone(), s.rev
	c.dropDead()
	if c.frozen != nil {
		c.frozen = nil
		c.emit(Thaw{})
	}
	c.emit(KeepRecord{Record: k.record, Rev: k.rev, CoordRev: k.coordRev})
	if m := c.master; m != nil && k.record.Epoch == m.epoch {
		c.keepPeers()
		if changed {
			c.appendRecord(false)
		}
		for i := range m.peers {
			if m.peers[i].streaming {
				c.send(m.peers[i].session, Record{Rev: k.rev, Record: k.record})
			}
		}
	}
}

// linearized draws the conclusions only a linearizable answer allows.
func (c *Core) linearized(s sighting) {
	k := &c.coord
	k.settled = true
	if k.rev == 0 {
		return
	}
	k.confirmed = max(k.confirmed, s.asked.sent)
	if !k.checked {
		c.verify()
	}
	if c.role < RoleFailed {
		c.switchLinearized()
		c.nominationRead()
	}
}

// verify compares this open's counter with the highest one the record relied
// on: an older disk or a clone opens with a number that was used before.
func (c *Core) verify() {
	ref, ok := c.coord.record.Ref(c.cfg.Slot)
	if !ok {
		c.coord.notBefore = c.now + c.cfg.Timing.Retry // perhaps not written yet
		return
	}
	if c.counter <= ref.Counter && !c.mutated(IgnoreCounter) {
		c.fail(OlderDisk, fmt.Sprintf("opened with counter %d, the record knows %d", c.counter, ref.Counter))
		return
	}
	c.coord.checked = true
	c.emit(KeepCounter{Counter: c.counter})
}

func (c *Core) onCounterKept(e CounterKept) {
	if c.coord.checked && e.Counter == c.counter && c.role == RoleIdle {
		c.coord.verified = true
		c.become(c.following())
	}
}

// freeze stops automation, not mail: no proposals until a higher generation.
func (c *Core) freeze(p Problem) {
	c.coord.wantRead = false
	c.coord.notBefore = c.now + c.cfg.Timing.Retry
	if c.frozen == nil || c.frozen.Code != p.Code {
		c.frozen = &p
		c.emit(Freeze{Problem: p})
	}
}

// nonce is unique for ever: the proposer's incarnation and a number.
func (c *Core) nonce() string {
	c.coord.nonces++
	return fmt.Sprintf("%016x-%d", uint64(c.incarnation), c.coord.nonces)
}

// proposer returns the incarnation that drew a nonce, 0 for nonces of others.
func proposer(nonce string) cluster.Incarnation {
	var inc, n uint64
	if strings.IndexByte(nonce, '-') != 16 {
		return 0
	}
	if _, err := fmt.Sscanf(nonce, "%016x-%d", &inc, &n); err != nil {
		return 0
	}
	return cluster.Incarnation(inc)
}
