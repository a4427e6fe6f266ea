package sim

import (
	"errors"
	"os"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
)

// Slot is one data set and the runner of its present Core.
type Slot struct {
	w    *World
	name string
	id   cluster.SlotID
	host cluster.Machine
	disk *Disk
	kind replica.Kind

	core        *replica.Core // nil while not running
	incarnation cluster.Incarnation
	problem     string // why it was taken out of use
	destroyed   bool   // a fault took octets it had confirmed
	unmounted   bool   // an empty directory is where its disk should be
	off         bool   // a person keeps its machine off
	exiled      bool   // cut off from everybody until a person mends it

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
	machine state
}

type write struct {
	op    OpID
	end   cluster.LSN
	epoch cluster.Epoch // it was appended under
	done  func(outcome)
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

// open starts a new incarnation, if what is on disk lets it.
func (s *Slot) open() {
	if s.core != nil || s.problem != "" || s.off {
		return
	}
	opened, err := s.recover()
	if err != nil {
		s.w.note(s.name, "!!", err.Error())
		if errors.Is(err, cluster.ErrDamaged) || errors.Is(err, os.ErrNotExist) {
			s.problem = err.Error()
			return
		}
		if s.disk.fs.Off() {
			s.disk.PowerLoss(s.w.rng)
		}
		s.w.loop.After(500*time.Millisecond, s.open)
		return
	}
	s.incarnation = opened.Incarnation
	s.core = replica.New(replica.Config{
		Cluster: "sim", Store: "s01", Slot: s.id, Kind: s.kind,
		MinInSync: s.w.cfg.MinInSync, Mutate: s.w.cfg.Mutate,
	})
	s.cursors, s.queue, s.pending, s.inbox = nil, nil, nil, nil
	s.serving, s.held, s.lease = false, false, 0
	s.machine = newState()
	for s.machine.applied < s.disk.flushed.LSN { // the index
		s.machine.apply(s.disk.Batch(s.machine.applied))
	}
	s.w.check.opened(s)
	s.w.note(s.name, "open", opened)
	s.w.net.Join(s.name, endpoint{s, s.incarnation})
	s.step(opened)
	s.w.coord.watch(s)
	s.tick(s.incarnation)
}

// recover opens the disk and says what was found.
func (s *Slot) recover() (replica.Opened, error) {
	d := s.disk
	rec, broken, err := d.Open()
	if broken != nil && (!s.destroyed || s.disk.rotten) {
		s.w.check.fail(4, "slot %s: %v", s.name, broken)
	}
	if err != nil {
		return replica.Opened{}, err
	}
	o := replica.Opened{
		Incarnation: cluster.Incarnation(s.w.rng.Uint64N(1<<62) + 1), Counter: d.counter + 1,
		Low: rec.Low.LSN, End: rec.End, Commit: rec.Commit, Applied: d.flushed.LSN, Adopted: d.promise.Epoch,
		Record: d.promise.Record, Rev: d.promise.Rev, CoordRev: d.promise.CoordRev,
	}
	for _, e := range rec.Epochs {
		o.Starts = append(o.Starts, replica.EpochStart{Epoch: e.Epoch, LSN: e.LSN, Chain: e.ChainBefore})
	}
	return o, nil
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
	if s.disk.fs.Off() {
		s.w.powerOff(s)
		s.w.loop.After(s.w.between(500*time.Millisecond, 6*time.Second), s.open)
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
