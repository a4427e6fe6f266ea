package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
)

// OpID names one client operation; retries use it again.
type OpID uint64

// Slot is one data set and the runner of its present Core.
type Slot struct {
	w       *World
	name    string
	id      cluster.SlotID
	machine cluster.Machine
	disk    *Disk
	kind    replica.Kind

	core        *replica.Core // nil while not running
	incarnation cluster.Incarnation
	problem     string // why it was taken out of use
	destroyed   bool   // a fault took octets it had confirmed

	rate     float64 // of its clock
	skew     time.Duration
	coordCut bool
	paused   bool
	waiting  []func() // what arrived while paused

	// of the running incarnation
	busy    bool // within step
	inbox   []replica.Event
	cursors []*replica.Cursor
	serving bool
	held    bool
	lease   time.Duration
	queue   []write // taken, not appended
	pending []write // appended, not applied
	applied cluster.LSN
	seen    map[OpID]bool
	failing bool // the next sync fails
}

type write struct {
	op   OpID
	end  cluster.LSN
	done func(outcome)
}

type outcome uint8

const (
	unknown outcome = iota
	done
	refused
)

// now is the slot's own clock.
func (s *Slot) now() time.Duration {
	return s.skew + time.Duration(float64(s.w.loop.Now())*s.rate)
}

// open starts a new incarnation.
func (s *Slot) open() {
	if s.core != nil || s.problem != "" {
		return
	}
	s.incarnation = cluster.Incarnation(s.w.rng.Uint64N(1<<62) + 1)
	s.core = replica.New(replica.Config{
		Cluster: "sim", Store: "s01", Slot: s.id, Kind: s.kind,
		MinInSync: s.w.cfg.MinInSync, Mutate: s.w.cfg.Mutate,
	})
	o := s.disk.Recover(s.incarnation)
	s.cursors, s.queue, s.pending, s.inbox = nil, nil, nil, nil
	s.serving, s.held, s.lease, s.failing = false, false, 0, false
	s.applied, s.seen = 0, map[OpID]bool{}
	s.apply(s.disk.flushed)
	s.w.check.opened(s)
	s.w.note(s.name, "open", o)
	s.w.net.Join(s.name, endpoint{s, s.incarnation})
	s.step(o)
	s.w.coord.watch(s)
	s.tick(s.incarnation)
}

func (s *Slot) tick(inc cluster.Incarnation) {
	s.after(replica.TickEvery, func() {
		s.step(replica.Tick{})
		s.tick(inc)
	})
}

// after runs fn for this incarnation when d has passed and the process runs.
func (s *Slot) after(d time.Duration, fn func()) {
	inc := s.incarnation
	s.w.loop.After(d, func() {
		s.awake(func() {
			if s.core != nil && s.incarnation == inc {
				fn()
			}
		})
	})
}

// awake runs fn now, or when the paused process goes on.
func (s *Slot) awake(fn func()) {
	if s.paused {
		s.waiting = append(s.waiting, fn)
		return
	}
	fn()
}

// stop ends the process. Silent: its machine is gone too.
func (s *Slot) stop(silent bool) {
	if s.core == nil {
		return
	}
	s.core = nil
	s.incarnation = 0
	s.w.net.Leave(s.name, silent)
	s.drop()
}

// drop answers what was appended with "unknown"; what only waited did not happen.
func (s *Slot) drop() {
	queue, pending := s.queue, s.pending
	s.queue, s.pending = nil, nil
	for _, x := range pending {
		x.done(unknown)
	}
	for _, x := range queue {
		x.done(refused)
	}
}

// step feeds one event and carries out what follows: the documented loop.
func (s *Slot) step(in replica.Event) {
	if s.paused {
		inc := s.incarnation
		s.waiting = append(s.waiting, func() {
			if s.incarnation == inc {
				s.step(in)
			}
		})
		return
	}
	s.inbox = append(s.inbox, in)
	if s.busy {
		return
	}
	s.busy = true
	for len(s.inbox) > 0 && s.core != nil {
		e := s.inbox[0]
		s.inbox = s.inbox[1:]
		s.w.note(s.name, "<-", e)
		var answers []replica.Event
		for _, f := range s.core.Step(s.now(), e) {
			s.w.note(s.name, "->", f)
			if a := s.do(f); a != nil {
				answers = append(answers, a)
			}
			if s.core == nil {
				break
			}
		}
		s.inbox = append(answers, s.inbox...)
		if s.core != nil && len(s.inbox) == 0 {
			s.pump()
			s.gather()
		}
	}
	s.busy = false
	s.w.check.after(s)
}

// do carries out one effect and returns its inline answer, if it has one.
func (s *Slot) do(f replica.Effect) replica.Event {
	switch f := f.(type) {
	case replica.AppendRaw:
		return s.appendRaw(f)
	case replica.AppendRecord:
		r := f.Record
		return s.append(f.Epoch, &Batch{Start: f.Start, Record: &r})
	case replica.Truncate:
		s.w.check.truncate(s, f.To)
		s.disk.Truncate(f.To)
		return replica.Truncated{End: s.disk.End()}
	case replica.Sync:
		s.sync()
	case replica.Send:
		s.w.check.acts(s, f.Frame)
		s.w.net.Send(uint64(f.Session), s.name, f.Frame)
	case replica.CloseSession:
		s.closeCursor(f.Session)
		s.w.net.Close(uint64(f.Session), s.name)
	case replica.Locate:
		at, ok := s.disk.PositionAt(f.LSN)
		s.after(s.w.delay(), func() { s.step(replica.Located{Session: f.Session, Stream: f.Stream, At: at, Found: ok}) })
	case replica.StartStream:
		s.closeCursor(f.Session)
		s.cursors = append(s.cursors, replica.NewCursor(f))
	case replica.StopStream:
		s.closeCursor(f.Session)
	case replica.StreamAcked:
		for _, c := range s.cursors {
			if c.Session == f.Session {
				c.Acked(f.LSN)
			}
		}
	case replica.ApplyTo:
		s.after(s.w.diskDelay(), func() {
			s.apply(f.LSN)
			s.step(replica.Applied{LSN: s.applied})
			s.answer()
		})
	case replica.AdoptEpoch:
		p := Promise(f)
		s.after(s.w.diskDelay(), func() {
			s.promise(p)
			s.step(replica.EpochDurable{Epoch: p.Epoch})
		})
	case replica.KeepRecord:
		s.promise(Promise{Record: f.Record, Rev: f.Rev, CoordRev: f.CoordRev})
	case replica.KeepCounter:
		s.after(s.w.diskDelay(), func() {
			s.disk.counter = f.Counter
			s.step(replica.CounterKept(f))
		})
	case replica.ProposeRecord:
		s.w.coord.cas(s, f)
	case replica.ReadRecord:
		s.w.coord.read(s, f.Read)
	case replica.AskController:
		s.w.askController(s)
	default:
		s.doServing(f)
	}
	return nil
}

func (s *Slot) doServing(f replica.Effect) {
	switch f := f.(type) {
	case replica.Serve:
		s.serving, s.held = true, false
	case replica.ReadLease:
		s.lease = f.Until
	case replica.Hold:
		s.held = true
	case replica.StopServing:
		s.serving = false
		s.drop()
	case replica.EndIncarnation:
		s.stop(false)
		s.disk.Kill()
		s.w.loop.After(s.w.delay()+100*time.Millisecond, s.open)
	case replica.FailSlot:
		s.problem = f.Problem.String()
		s.stop(false)
	case replica.Freeze, replica.Thaw, replica.Told:
	default:
		panic(fmt.Sprintf("sim: effect %T", f))
	}
}

func (s *Slot) promise(p Promise) {
	p.Epoch = max(p.Epoch, s.disk.promise.Epoch)
	if p.Rev < s.disk.promise.Rev && p.Record.Generation <= s.disk.promise.Record.Generation {
		s.disk.promise.Epoch = p.Epoch
		return
	}
	s.disk.promise = p
}

func (s *Slot) closeCursor(id replica.Session) {
	s.cursors = slices.DeleteFunc(s.cursors, func(c *replica.Cursor) bool { return c.Session == id })
}

// append writes a batch of our own.
func (s *Slot) append(e cluster.Epoch, b *Batch) replica.Event {
	end := s.disk.End()
	b.Base, b.Prev, b.Commit = end.LSN, end.Chain, s.core.Commit()
	b.End = cluster.Position{LSN: end.LSN + cluster.LSN(100+10*len(b.Ops)), Epoch: e}
	b.End.Chain = b.chain()
	return s.write(b)
}

func (s *Slot) appendRaw(f replica.AppendRaw) replica.Event {
	b := s.w.raw[cluster.Chain(f.Raw)]
	if s.w.cfg.Mutate&replica.SkipTruncate != 0 { // a journal that does not check its chain either
		c := *b
		b = &c
		b.Prev = s.disk.End().Chain
	}
	return s.write(b)
}

func (s *Slot) write(b *Batch) replica.Event {
	if err := s.disk.Append(b); err != nil {
		return replica.AppendRefused{Reason: err.Error()}
	}
	s.w.check.appended(s, b)
	return replica.Appended{Base: b.Base, End: b.End}
}

func (s *Slot) sync() {
	end := s.disk.End().LSN
	s.after(s.w.diskDelay(), func() {
		if s.failing {
			s.failing = false
			s.disk.FailSync()
			s.step(replica.DiskFailed{Reason: "sync: input/output error"})
			return
		}
		s.disk.Sync(end)
		s.step(replica.Durable{LSN: end})
	})
}

// pump sends batches as far as the cursors have room.
func (s *Slot) pump() {
	for _, c := range s.cursors {
		for c.Room() {
			b := s.disk.Batch(c.Next)
			if b == nil {
				break
			}
			s.w.raw[b.End.Chain] = b
			f := replica.Batch{Stream: c.Stream, Epoch: c.Epoch, Base: b.Base, End: b.End.LSN, Commit: s.core.Commit(), Raw: b.End.Chain[:]}
			s.w.note(s.name, "=>", replica.Send{Session: c.Session, Frame: f})
			s.w.net.Send(uint64(c.Session), s.name, f)
			c.Sent(b.End.LSN)
		}
	}
}

// gather is the sequencer: it appends what waits as one batch.
func (s *Slot) gather() {
	if len(s.queue) == 0 || s.core.CanAppend(s.now()) != nil {
		return
	}
	b := &Batch{}
	n := min(len(s.queue), 8)
	for _, x := range s.queue[:n] {
		b.Ops = append(b.Ops, x.op)
	}
	e := s.append(s.core.Epoch(), b)
	for _, x := range s.queue[:n] {
		x.end = b.End.LSN
		s.pending = append(s.pending, x)
	}
	s.queue = s.queue[n:]
	s.inbox = append(s.inbox, e)
}

// apply runs the state machine up to lsn.
func (s *Slot) apply(lsn cluster.LSN) {
	for s.applied < lsn {
		b := s.disk.Batch(s.applied)
		if b == nil {
			return
		}
		for _, op := range b.Ops {
			s.seen[op] = true
		}
		s.applied = b.End.LSN
		s.w.check.applied(s, b)
	}
	if s.applied > s.disk.flushed && s.w.chance(0.3) {
		s.disk.flushed = s.applied
	}
}

// answer tells clients what is applied.
func (s *Slot) answer() {
	for len(s.pending) > 0 && s.pending[0].end <= s.applied {
		x := s.pending[0]
		s.pending = s.pending[1:]
		s.w.check.acked(s, x)
		x.done(done)
	}
}

// propose takes a client's operation.
func (s *Slot) propose(op OpID, reply func(outcome)) {
	switch {
	case s.core == nil || !s.serving:
		reply(refused)
	case s.seen[op]:
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

// drainInbox steps what gather left behind.
func (s *Slot) drainInbox() {
	if len(s.inbox) > 0 {
		e := s.inbox[0]
		s.inbox = s.inbox[1:]
		s.step(e)
	}
}

// endpoint is one incarnation's end of the network.
type endpoint struct {
	s   *Slot
	inc cluster.Incarnation
}

func (e endpoint) deliver(in replica.Event) {
	if e.s.incarnation == e.inc {
		e.s.step(in)
	}
}

// Up implements simnet.Node.
func (e endpoint) Up(id uint64, peer string) {
	e.deliver(replica.SessionUp{Session: replica.Session(id), Peer: e.s.w.slot(peer).id})
}

// Down implements simnet.Node.
func (e endpoint) Down(id uint64) {
	if e.s.incarnation == e.inc {
		e.s.closeCursor(replica.Session(id))
		e.s.step(replica.SessionDown{Session: replica.Session(id)})
	}
}

// Receive implements simnet.Node.
func (e endpoint) Receive(id uint64, msg any) {
	e.deliver(replica.FrameIn{Session: replica.Session(id), Frame: msg.(replica.Frame)})
}
