package sim

import (
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/replica"
)

// fault breaks something; it reports whether it could.
type fault struct {
	name   string
	weight int
	do     func(w *World, s *Slot) bool
}

// faults are all that can go wrong. What destroys a copy is done only while
// another member of the set is whole: two copies lost are lost.
var faults = []fault{
	{"kill", 6, func(w *World, s *Slot) bool { return w.crash(s, false, 100*time.Millisecond, 3*time.Second) }},
	{"power-loss", 6, func(w *World, s *Slot) bool { return w.crash(s, true, 500*time.Millisecond, 6*time.Second) }},
	{"power-loss-everywhere", 1, func(w *World, _ *Slot) bool {
		for _, s := range w.slots {
			w.crash(s, true, 500*time.Millisecond, 4*time.Second)
		}
		return true
	}},
	{"power-loss-in-write", 3, func(w *World, s *Slot) bool {
		s.disk.fs.StopAfter(1 + w.rng.IntN(12))
		return true
	}},
	{"failed-sync", 4, func(_ *World, s *Slot) bool {
		s.disk.fs.FailSyncs(1)
		return true
	}},
	{"full-disk", 3, func(w *World, s *Slot) bool {
		fs := s.disk.fs
		fs.SetRoom(w.rng.IntN(6000))
		w.loop.After(w.between(500*time.Millisecond, 8*time.Second), func() { fs.SetRoom(-1) })
		return true
	}},
	{"empty-mount", 2, func(w *World, s *Slot) bool { return w.unmount(s) }},
	{"pause", 5, func(w *World, s *Slot) bool { return w.pause(s, w.between(50*time.Millisecond, 9*time.Second)) }},
	{"one-way-cut", 5, func(w *World, s *Slot) bool { return w.cutOneWay(s) }},
	{"isolate", 4, func(w *World, s *Slot) bool { return w.isolate(s) }},
	{"break-session", 4, func(w *World, s *Slot) bool { return w.breakSession(s) }},
	{"coordinator-unreachable", 4, func(w *World, s *Slot) bool {
		s.coordCut = true
		w.loop.After(w.between(time.Second, 14*time.Second), func() { s.coordCut = false; w.coord.watch(s) })
		return true
	}},
	{"coordinator-down", 2, func(w *World, _ *Slot) bool { return w.coordDown() }},
	{"coordinator-rewound", 1, func(w *World, _ *Slot) bool { return w.rewindCoord() }},
	{"disk-rolled-back", 3, func(w *World, s *Slot) bool { return w.rollBack(s) }},
	{"cloned-machine", 2, func(w *World, s *Slot) bool { return w.cloneMachine(s) }},
	{"bit-rot", 2, func(w *World, s *Slot) bool { return w.rot(s) }},
	{"controller-death", 2, func(w *World, _ *Slot) bool {
		c := w.controllers[w.rng.IntN(len(w.controllers))]
		c.steps = 1 + w.rng.IntN(8)
		return true
	}},
	{"controller-cut", 3, func(w *World, s *Slot) bool {
		c := w.controllers[w.rng.IntN(len(w.controllers))]
		c.cut[s] = true
		w.loop.After(w.between(time.Second, 8*time.Second), func() { delete(c.cut, s) })
		return true
	}},
	{"stray-nomination", 2, func(w *World, s *Slot) bool {
		s.step2(replica.Nominate{CoordRev: w.controllers[0].seen})
		return true
	}},
	{"switchover", 8, func(w *World, s *Slot) bool { return w.askSwitch(s) }},
	{"forced-failover", 3, func(w *World, s *Slot) bool { return w.force(s) }},
}

// nextFault schedules faults for ever.
func (w *World) nextFault() {
	d := time.Duration(w.rng.ExpFloat64() * float64(w.cfg.FaultEvery))
	w.loop.After(min(d, 10*w.cfg.FaultEvery), func() {
		if !w.faults {
			return
		}
		w.strike()
		w.nextFault()
	})
}

func (w *World) strike() {
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	for range 5 {
		n := w.rng.IntN(total)
		s := w.slots[w.rng.IntN(len(w.slots))]
		for _, f := range faults {
			if n -= f.weight; n >= 0 {
				continue
			}
			if len(w.cfg.Only) > 0 && !slices.Contains(w.cfg.Only, f.name) {
				break
			}
			w.note("fault", f.name, s.name)
			if f.do(w, s) {
				return
			}
			break
		}
	}
}

// step2 steps a slot that may not be running.
func (s *Slot) step2(in replica.Event) {
	if s.core != nil {
		s.step(in)
	}
}

func (w *World) crash(s *Slot, power bool, lo, hi time.Duration) bool {
	if s.core == nil {
		return false
	}
	if w.chance(0.5) {
		w.old[s] = s.disk.Clone()
	}
	if power {
		w.powerOff(s)
	} else {
		s.stop(false)
		s.resume()
		s.disk.Kill(w.rng)
	}
	w.loop.After(w.between(lo, hi), s.open)
	return true
}

// powerOff stops a slot's machine.
func (w *World) powerOff(s *Slot) {
	s.stop(true)
	s.resume()
	s.disk.PowerLoss(w.rng)
}

func (w *World) pause(s *Slot, d time.Duration) bool {
	if s.core == nil || s.paused {
		return false
	}
	s.paused = true
	w.loop.After(d, s.resume)
	return true
}

func (s *Slot) resume() {
	if !s.paused {
		return
	}
	s.paused = false
	waiting := s.waiting
	s.waiting = nil
	for _, fn := range waiting {
		fn()
	}
}

func (w *World) other(s *Slot) *Slot {
	if len(w.slots) < 2 {
		return nil
	}
	for {
		if o := w.slots[w.rng.IntN(len(w.slots))]; o != s {
			return o
		}
	}
}

func (w *World) cutOneWay(s *Slot) bool {
	o := w.other(s)
	if o == nil {
		return false
	}
	w.net.Cut(s.name, o.name)
	w.loop.After(w.between(100*time.Millisecond, 10*time.Second), func() { w.mend(s, o) })
	return true
}

// mend undoes a cut, unless a person wants it to last.
func (w *World) mend(from, to *Slot) {
	if !from.exiled && !to.exiled {
		w.net.Heal(from.name, to.name)
	}
}

// isolate cuts a slot off from the others, and sometimes from the coordinator.
func (w *World) isolate(s *Slot) bool {
	d := w.between(500*time.Millisecond, 14*time.Second)
	if w.chance(0.5) {
		s.coordCut = true
		w.loop.After(d, func() { s.coordCut = false; w.coord.watch(s) })
	}
	for _, o := range w.slots {
		if o != s {
			w.net.Cut(s.name, o.name)
			w.net.Cut(o.name, s.name)
			w.loop.After(d, func() {
				w.mend(s, o)
				w.mend(o, s)
			})
		}
	}
	return len(w.slots) > 1
}

func (w *World) breakSession(s *Slot) bool {
	o := w.other(s)
	if o == nil {
		return false
	}
	w.net.Break(s.name, o.name)
	return true
}

func (w *World) coordDown() bool {
	if w.coord.down {
		return false
	}
	w.coord.down = true
	w.loop.After(w.between(500*time.Millisecond, 15*time.Second), w.coordUp)
	return true
}

func (w *World) coordUp() {
	w.coord.down = false
	for _, s := range w.slots {
		w.coord.watch(s)
	}
}

// rewindCoord goes back only below what some controller has seen: what nobody
// alive ever saw cannot be missed.
func (w *World) rewindCoord() bool {
	if w.rewinds > 0 || w.coord.rewound || w.forcing != nil {
		return false
	}
	for _, s := range w.slots {
		if s.destroyed {
			return false // both memories of a counter gone at once: nothing could tell
		}
	}
	for _, c := range w.controllers {
		if c.seen < w.coord.global {
			return false
		}
	}
	if !w.coord.rewind() {
		return false
	}
	w.rewinds++
	w.coord.down = true // a restore takes its time
	w.loop.After(3*time.Second, w.coordUp)
	return true
}

// askSwitch asks the master to hand over to s, or writes the wish.
func (w *World) askSwitch(s *Slot) bool {
	m := w.master()
	if m == nil || m == s {
		return false
	}
	if w.chance(0.5) && !w.coord.rewound && !w.coord.down {
		r := w.coord.record.Clone()
		r.Want, r.Nonce = s.id, "wish"
		w.coord.write(r)
		return true
	}
	m.step(replica.SwitchTo{Target: s.id})
	return true
}

// heal ends all faults for good.
func (w *World) heal() {
	w.faults = false
	w.note("fault", "none from here on", "")
	for _, s := range w.slots {
		s.resume()
		s.coordCut = false
		s.disk.fs.FailSyncs(0)
		s.disk.fs.StopAfter(-1)
		s.disk.fs.SetRoom(-1)
		for _, o := range w.slots {
			if o != s {
				w.mend(s, o)
			}
		}
	}
	for _, c := range w.controllers {
		c.dead, c.steps, c.cut = false, -1, map[*Slot]bool{}
	}
	w.coordUp()
	// A rewound coordinator is recovered once every slot is there to be asked.
	w.loop.After(8*time.Second, func() {
		if w.coord.rewound {
			w.coord.recover()
		}
	})
}
