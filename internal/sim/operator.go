package sim

import (
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
)

// operator repairs what needs a person: a slot taken out of use is seeded anew
// from the master once it is in no set.
func (w *World) operator() {
	w.loop.After(2*time.Second, w.operator)
	m := w.master()
	if m == nil || w.coord.rewound || w.coord.down || w.coord.inFlight > 0 || m.destroyed {
		return
	}
	for _, s := range w.slots {
		if s.problem != "" && !s.unmounted && !w.coord.record.IsInSync(s.id) {
			w.reseed(s, m)
		}
	}
}

// reseed gives s a copy of another slot's disk, up to what is committed. What it
// has is set aside.
func (w *World) reseed(s, from *Slot) {
	w.setAside(w.salvage(s))
	d := from.disk.Clone()
	rec, _, err := d.Open()
	if err == nil {
		err = d.Truncate(min(from.core.Commit(), rec.End.LSN))
	}
	if err != nil {
		panic(fmt.Sprintf("sim: copy of slot %s: %v", from.name, err))
	}
	d.id, d.cut = s.id, nil
	d.Kill(w.rng)
	ref, _ := w.coord.record.Ref(s.id)
	d.counter = max(s.disk.counter, ref.Counter)
	d.promise = s.disk.promise
	s.disk, s.problem, s.destroyed = d, "", false
	w.check.commits[s] = 0
	delete(w.old, s)
	w.note("operator", "reseeds", s.name)
	s.open()
}

// salvage reads back what the disk of a slot out of use has and the master does
// not. It matters only when that slot's history was left by a forced epoch: else
// nothing there was acknowledged.
func (w *World) salvage(s *Slot) []*Batch {
	if w.check.forced.epoch == 0 || s.destroyed {
		return nil
	}
	d := s.disk.Clone()
	if _, broken, err := d.Open(); err != nil || broken != nil {
		w.check.fail(5, "what slot %s had cannot be read: %v, %v", s.name, broken, err)
		return nil
	}
	var tail []*Batch
	for _, b := range d.log {
		if raw, err := d.Read(b.Base); err != nil || raw.Position() != b.End {
			w.check.fail(5, "what slot %s had at %d cannot be read: %v", s.name, b.Base, err)
		}
		tail = append(tail, b)
	}
	return tail
}

// setAside delivers again, after a forced failover, the operations of a tail that
// the store never had: under their own ids, so that none is done twice.
func (w *World) setAside(tail []*Batch) {
	if w.check.forced.epoch == 0 {
		return
	}
	m := w.master()
	for _, b := range tail {
		for _, op := range b.Ops {
			if m == nil || !m.machine.has(op) {
				c := &client{w: w, op: op, took: true, once: true}
				w.loop.After(w.think(), c.try)
			}
		}
	}
}

// forcing is a forced failover under way: a person appoints target, which is
// behind, while the recorded set is off or cut off.
type forcing struct {
	target  *Slot
	members []*Slot
	since   cluster.Epoch // that the store was in
	off     bool          // the members are off
	tries   int
}

// force begins one: the target falls behind first.
func (w *World) force(t *Slot) bool {
	r, k := w.coord.record, w.coord
	if w.forcing != nil || w.forced > 1 || t.kind != replica.Full || t.core == nil || r.Epoch == 0 || k.rewound || k.down ||
		w.loop.Now() > 25*time.Second || w.anyLost() || len(r.InSync) < 2 && r.IsInSync(t.id) {
		return false
	}
	w.forced++
	w.forcing = &forcing{target: t}
	t.off = true
	w.powerOff(t)
	w.loop.After(w.between(500*time.Millisecond, 8*time.Second), w.failAll)
	return true
}

func (w *World) anyLost() bool {
	for _, s := range w.slots {
		if s.destroyed || s.problem != "" || s.unmounted {
			return true
		}
	}
	return false
}

// failAll takes the recorded set away. A person who says that it is off has
// switched it off; a lone master that cannot be reached is waited out. Members
// that still reach each other would go on, and nobody may force then.
func (w *World) failAll() {
	f, r := w.forcing, w.coord.record
	f.target.off = false
	defer f.target.open()
	if r.IsInSync(f.target.id) || w.coord.rewound || w.coord.down || w.anyLost() {
		w.forcing = nil
		return
	}
	f.since = r.Epoch
	f.off = len(r.InSync) > 1 || w.chance(0.3)
	for _, s := range w.slots {
		if !r.IsInSync(s.id) {
			continue
		}
		f.members = append(f.members, s)
		if f.off {
			s.off = true
			w.powerOff(s)
		} else {
			w.exile(s)
		}
	}
	w.note("operator", "forces", f.target.name)
	w.insist()
}

func (w *World) exile(s *Slot) {
	s.exiled = true
	for _, o := range w.slots {
		if o != s {
			w.net.Cut(s.name, o.name)
			w.net.Cut(o.name, s.name)
		}
	}
}

// insist repeats the command until the record shows it, or nothing can any more.
func (w *World) insist() {
	f, r := w.forcing, w.coord.record
	switch f.tries++; {
	case r.Epoch > f.since && r.Master == f.target.id:
		w.loop.After(w.between(0, 15*time.Second), w.relent)
		return
	case f.tries > 6:
		w.crash(f.target, false, 100*time.Millisecond, time.Second)
		if w.coord.inFlight == 0 {
			w.relent()
			return
		}
	default:
		f.target.step2(replica.Nominate{Forced: true, OldIsOff: f.off, CoordRev: w.coord.global})
	}
	w.loop.After(2*time.Second, w.insist)
}

// relent gives the old members back.
func (w *World) relent() {
	f := w.forcing
	w.forcing = nil
	for _, s := range f.members {
		s.off, s.exiled = false, false
		for _, o := range w.slots {
			if o != s {
				w.mend(s, o)
				w.mend(o, s)
			}
		}
		w.coord.watch(s)
		s.open()
	}
}
