package sim

import (
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/simfs"
)

// spare reports whether the store survives the loss of s.
func (w *World) spare(s *Slot) bool {
	r := w.coord.record
	if r.Epoch == 0 || w.coord.inFlight > 0 || w.coord.rewound || w.coord.down || w.forcing != nil {
		return false
	}
	if !r.IsInSync(s.id) {
		return true
	}
	for _, o := range w.slots {
		if o != s && o.kind == replica.Full && r.IsInSync(o.id) && !o.destroyed && !o.unmounted && o.problem == "" {
			return true
		}
	}
	return false
}

// rollBack puts back a disk from before an open that the record relied on.
func (w *World) rollBack(s *Slot) bool {
	old := w.older(s)
	if old == nil || !w.spare(s) {
		return false
	}
	w.powerOff(s)
	s.disk = old.Clone()
	w.lose(s)
	w.loop.After(w.between(100*time.Millisecond, 3*time.Second), s.open)
	return true
}

// older is a state of a slot's disk from before an open that the record relied
// on, nil if there is none.
func (w *World) older(s *Slot) *Disk {
	ref, _ := w.coord.record.Ref(s.id)
	if old := w.old[s]; old != nil && old.counter < ref.Counter && s.problem == "" && !s.unmounted {
		return old
	}
	return nil
}

// cloneMachine starts a copy of a slot's machine, as it once was, beside it.
func (w *World) cloneMachine(s *Slot) bool {
	old := w.older(s)
	if old == nil || len(w.clones) > 0 {
		return false
	}
	c := &Slot{w: w, name: s.name + "'", id: s.id, host: s.host, kind: s.kind, disk: old.Clone(), rate: s.rate, skew: s.skew}
	w.clones = append(w.clones, c)
	c.open()
	w.loop.After(w.between(2*time.Second, 10*time.Second), func() {
		c.stop(true)
		w.clones = nil
	})
	return true
}

// rot inverts a bit of the journal, which opening it reads and has to notice: the
// index does not cover it, and a later batch says that it was committed with this copy.
func (w *World) rot(s *Slot) bool {
	if !w.spare(s) || !s.disk.member() || s.problem != "" || s.unmounted || w.check.forced.epoch != 0 {
		return false
	}
	d := s.disk
	var known cluster.LSN
	for _, b := range d.log[:d.index(d.durable)] {
		known = max(known, b.Commit)
	}
	var bad []*Batch
	for _, b := range d.log {
		if b.Base >= d.flushed.LSN && b.End.LSN <= known {
			bad = append(bad, b)
		}
	}
	if len(bad) == 0 {
		return false
	}
	b := bad[w.rng.IntN(len(bad))]
	d.flip(b.Base+cluster.LSN(w.rng.IntN(int(b.End.LSN-b.Base))), uint(w.rng.IntN(8)))
	w.powerOff(s)
	w.lose(s)
	w.loop.After(w.between(100*time.Millisecond, 3*time.Second), s.open)
	return true
}

// unmount leaves an empty directory where a slot's disk should be, for a while.
func (w *World) unmount(s *Slot) bool {
	if s.unmounted || s.problem != "" || s.off {
		return false
	}
	w.powerOff(s)
	real := s.disk.fs
	s.unmounted, s.disk.fs = true, simfs.New()
	w.loop.After(w.between(100*time.Millisecond, 2*time.Second), s.open)
	w.loop.After(w.between(3*time.Second, 8*time.Second), func() {
		if s.core != nil {
			w.check.fail(16, "slot %s runs without its disk", s.name)
		}
		s.unmounted, s.disk.fs, s.problem = false, real, ""
		s.open()
	})
	return true
}

// lose tells the checker that a copy is no longer what it confirmed.
func (w *World) lose(s *Slot) {
	s.destroyed = w.coord.record.IsInSync(s.id) || s.disk.rotten
	w.check.commits[s], w.check.adopted[s] = 0, 0
}
