package sim

import (
	"errors"

	"github.com/tandemail/tandemail/internal/cluster"
)

// state is what the journal's operations make: which were done, and the number
// each was given, as a mailbox gives UIDs.
type state struct {
	applied cluster.LSN
	uids    map[OpID]uint64
	next    uint64
	forks   uint64
}

// forkUIDs is by how much each fork of the store moves the next number: beyond all
// that were given in the histories that were left.
const forkUIDs = 1 << 20

func newState() state { return state{uids: map[OpID]uint64{}, next: 1} }

func (s *state) has(op OpID) bool { return s.uids[op] != 0 }

// apply applies b. An operation that is there already, asked again after an
// unknown outcome, has its first answer.
func (s *state) apply(b *Batch) {
	if b.Fork > s.forks {
		s.next += forkUIDs * (b.Fork - s.forks)
		s.forks = b.Fork
	}
	for _, op := range b.Ops {
		if !s.has(op) {
			s.uids[op] = s.next
			s.next++
		}
	}
	s.applied = b.End.LSN
}

// gather is the sequencer: it appends what waits as one batch.
func (s *Slot) gather() {
	if len(s.queue) == 0 || s.core.CanAppend(s.now()) != nil {
		return
	}
	n := min(len(s.queue), 8)
	var ops []OpID
	for _, x := range s.queue[:n] {
		ops = append(ops, x.op)
	}
	epoch := s.core.Epoch()
	b, err := s.append(epoch, records(ops))
	taken := s.queue[:n]
	s.queue = s.queue[n:]
	for _, x := range taken {
		switch {
		case errors.Is(err, cluster.ErrFull): // nothing was written
			x.done(refused)
		case err != nil:
			x.done(unknown)
		default:
			x.end, x.epoch = b.End.LSN, epoch
			s.pending = append(s.pending, x)
		}
	}
	if !errors.Is(err, cluster.ErrFull) {
		s.inbox = append(s.inbox, wrote(b, err))
	}
}

// apply runs the state machine up to lsn, on what the journal reads back.
func (s *Slot) apply(lsn cluster.LSN) {
	for s.machine.applied < lsn {
		at := s.machine.applied
		raw, err := s.disk.Read(at)
		if err != nil {
			s.w.note(s.name, "!!", err.Error())
			s.problem = err.Error()
			s.stop(false)
			return
		}
		b := s.disk.Batch(at)
		if b == nil || raw.Position() != b.End {
			s.w.check.fail(4, "slot %s reads %v at %d, which was never written", s.name, raw.Position(), at)
			return
		}
		s.machine.apply(b)
		s.w.check.applied(s, b)
	}
	if s.machine.applied > s.disk.flushed.LSN && s.w.chance(0.3) {
		s.disk.flushed, _ = s.disk.PositionAt(s.machine.applied)
	}
}

// answer tells clients what is applied.
func (s *Slot) answer() {
	for len(s.pending) > 0 && s.pending[0].end <= s.machine.applied {
		x := s.pending[0]
		s.pending = s.pending[1:]
		s.w.check.answered(s, x)
		x.done(done)
	}
}

// propose takes a client's operation.
func (s *Slot) propose(op OpID, reply func(outcome)) {
	switch {
	case s.core == nil || !s.serving:
		reply(refused)
	case s.machine.has(op):
		reply(done) // the first answer again
	case len(s.queue) >= 32:
		reply(refused)
	default:
		s.queue = append(s.queue, write{op: op, done: reply})
		if !s.busy && !s.paused {
			s.busy = true
			s.gather()
			s.busy = false
			s.drainInbox()
		}
	}
}
