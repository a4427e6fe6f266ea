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
	{"failed-sync", 4, func(_ *World, s *Slot) bool { s.failing = s.core != nil; return s.failing }},
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
	{"damage", 1, func(w *World, s *Slot) bool { return w.damage(s) }},
	{"controller-death", 2, func(w *World, _ *Slot) bool {
		c := w.controllers[w.rng.IntN(len(w.controllers))]
		c.dead = true
		w.loop.After(w.between(time.Second, 10*time.Second), func() { c.dead = false })
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
	s.stop(power)
	s.resume()
	if power {
		s.disk.PowerLoss(w.rng)
	} else {
		s.disk.Kill()
	}
	w.loop.After(w.between(lo, hi), s.open)
	return true
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
	w.loop.After(w.between(100*time.Millisecond, 10*time.Second), func() { w.net.Heal(s.name, o.name) })
	return true
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
				w.net.Heal(s.name, o.name)
				w.net.Heal(o.name, s.name)
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
	if w.rewinds > 0 || w.coord.rewound {
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

// spare reports whether the store survives the loss of s.
func (w *World) spare(s *Slot) bool {
	r := w.coord.record
	if r.Epoch == 0 || w.coord.inFlight > 0 || w.coord.rewound || w.coord.down {
		return false
	}
	if !r.IsInSync(s.id) {
		return true
	}
	for _, o := range w.slots {
		if o != s && o.kind == replica.Full && r.IsInSync(o.id) && !o.destroyed && o.problem == "" {
			return true
		}
	}
	return false
}

// rollBack puts back a disk from before an open that the record relied on.
func (w *World) rollBack(s *Slot) bool {
	old := w.old[s]
	ref, _ := w.coord.record.Ref(s.id)
	if old == nil || old.counter >= ref.Counter || !w.spare(s) {
		return false
	}
	s.stop(true)
	s.resume()
	s.disk = old.Clone()
	s.disk.Kill()
	w.lose(s)
	w.loop.After(w.between(100*time.Millisecond, 3*time.Second), s.open)
	return true
}

func (w *World) damage(s *Slot) bool {
	if !w.spare(s) {
		return false
	}
	s.stop(true)
	s.resume()
	s.disk.damaged = true
	w.lose(s)
	w.loop.After(w.between(100*time.Millisecond, 3*time.Second), s.open)
	return true
}

// lose tells the checker that a copy is no longer what it confirmed.
func (w *World) lose(s *Slot) {
	s.destroyed = w.coord.record.IsInSync(s.id) || s.disk.damaged
	w.check.commits[s], w.check.adopted[s] = 0, 0
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
		s.failing = false
		for _, o := range w.slots {
			if o != s {
				w.net.Heal(s.name, o.name)
			}
		}
	}
	for _, c := range w.controllers {
		c.dead, c.cut = false, map[*Slot]bool{}
	}
	w.coordUp()
	// A rewound coordinator is recovered once every slot is there to be asked.
	w.loop.After(8*time.Second, func() {
		if w.coord.rewound {
			w.coord.recover()
		}
	})
}

// operator repairs what needs a person: a slot taken out of use is seeded anew
// from the master once it is in no set.
func (w *World) operator() {
	w.loop.After(2*time.Second, w.operator)
	m := w.master()
	if m == nil || w.coord.rewound || w.coord.down || w.coord.inFlight > 0 || m.destroyed {
		return
	}
	for _, s := range w.slots {
		if s.problem != "" && !w.coord.record.IsInSync(s.id) {
			w.reseed(s, m)
		}
	}
}

func (w *World) reseed(s, from *Slot) {
	d := from.disk.Clone()
	d.Truncate(from.core.Commit())
	d.Kill()
	d.durable = len(d.batches)
	d.flushed = min(d.flushed, d.End().LSN)
	ref, _ := w.coord.record.Ref(s.id)
	d.counter = max(s.disk.counter, ref.Counter)
	d.promise = s.disk.promise
	s.disk, s.problem, s.destroyed = d, "", false
	delete(w.old, s)
	w.note("operator", "reseeds", s.name)
	s.open()
}
