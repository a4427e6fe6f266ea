package sim

import (
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
)

// Coord is a model of the coordinator: one key with a revision, and a revision
// of its own that other keys move too.
type Coord struct {
	w        *World
	record   cluster.StoreRecord
	rev      cluster.Rev
	prev     cluster.Rev
	global   cluster.Rev
	down     bool
	rewound  bool        // and not yet recovered
	peak     cluster.Rev // its revision when it was rewound
	past     []coordState
	inFlight int  // requests that may still take effect
	loseNext bool // the next request takes effect and is not answered
	life     int  // connections of an earlier life reach nothing
}

type coordState struct {
	record cluster.StoreRecord
	rev    cluster.Rev
	global cluster.Rev
}

// write stores r and tells the watchers.
func (k *Coord) write(r cluster.StoreRecord) {
	k.past = append(k.past, coordState{k.record, k.rev, k.global})
	k.global += 1 + cluster.Rev(k.w.rng.IntN(3))
	k.prev, k.rev = k.rev, k.global
	k.w.check.recordStep(k.record, r)
	k.record = r.Clone()
	k.w.note("coord", "record", r)
	for _, s := range k.w.all() {
		k.watch(s)
	}
}

// watch tells one slot the present record, unless it cannot be reached.
func (k *Coord) watch(s *Slot) {
	seen := replica.RecordSeen{Record: k.record.Clone(), Rev: k.rev, PrevRev: k.prev, CoordRev: k.global}
	life, inc := k.life, s.incarnation
	k.w.loop.After(k.w.delay(), func() {
		if !k.unreachable(s) && k.life == life && s.incarnation == inc {
			s.step(seen)
		}
	})
}

func (k *Coord) unreachable(s *Slot) bool { return k.down || s.coordCut || s.exiled }

// ask runs a request of a slot: there, effect, and back, each of which may fail.
// answer gets ok=false when no answer came.
func (k *Coord) ask(s *Slot, effect func(), answer func(ok bool)) {
	w, inc, life := k.w, s.incarnation, k.life
	done := false
	reply := func(ok bool) {
		if !done && s.incarnation == inc {
			done = true
			answer(ok)
		}
	}
	out := w.delay()
	late := w.faulty() && w.chance(w.cfg.LateRequests)
	lose := w.faulty() && w.chance(w.cfg.LostAnswers) || k.loseNext
	k.loseNext = false
	if late {
		out += time.Duration(w.rng.Int64N(int64(8 * time.Second)))
	}
	k.inFlight++
	w.loop.After(out, func() {
		k.inFlight--
		if k.down || k.life != life || (s.coordCut && !late) || s.exiled && !late {
			return
		}
		effect()
		w.loop.After(w.delay(), func() {
			if !lose && !k.unreachable(s) {
				reply(true)
			}
		})
	})
	w.loop.After(time.Second, func() { reply(false) })
}

// cas is a compare-and-swap for slot s.
func (k *Coord) cas(s *Slot, p replica.ProposeRecord) {
	a := replica.CASAnswered{Nonce: p.Record.Nonce}
	k.ask(s, func() {
		if k.rev != p.Rev {
			a.Outcome = replica.Conflict
			return
		}
		k.write(p.Record)
		a.Outcome, a.Record, a.Rev, a.CoordRev = replica.OK, p.Record, k.rev, k.global
	}, func(ok bool) {
		if !ok {
			a = replica.CASAnswered{Nonce: p.Record.Nonce}
		}
		s.step(a)
	})
}

// read is a linearizable read for slot s.
func (k *Coord) read(s *Slot, n uint64) {
	var seen replica.RecordSeen
	k.ask(s, func() {
		seen = replica.RecordSeen{Read: n, Record: k.record.Clone(), Rev: k.rev, PrevRev: k.prev, CoordRev: k.global}
	}, func(ok bool) {
		if !ok {
			s.step(replica.ReadFailed{Read: n})
			return
		}
		s.step(seen)
	})
}

// rewind puts back an earlier state, as a restore from a backup does.
func (k *Coord) rewind() bool {
	n := len(k.past) - 1 - k.w.rng.IntN(2)
	if n < 1 || k.past[n].rev == 0 {
		return false
	}
	p := k.past[n]
	k.peak = k.global
	k.record, k.rev, k.global, k.past = p.record, p.rev, p.global, k.past[:n]
	k.prev = 0
	k.rewound = true
	k.life++
	return true
}

// recover is `control recover`: the highest claim of all slots, as a new
// generation, above every revision any of them has seen. A revision used twice
// would let a proposal on the old one replace the new record.
func (k *Coord) recover() {
	best := coordState{record: k.record, rev: k.rev}
	for _, s := range k.w.slots {
		p := s.disk.promise
		k.global = max(k.global, p.Rev, p.CoordRev)
		if s.core != nil {
			st := s.core.State()
			k.global = max(k.global, st.Rev, st.CoordRev)
		}
		if p.Record.Epoch > best.record.Epoch || (p.Record.Epoch == best.record.Epoch && p.Rev > best.rev) {
			best = coordState{record: p.Record, rev: p.Rev}
		}
	}
	gen := max(k.record.Generation, best.record.Generation) + 1
	k.rewound = false
	k.record = best.record.Clone()
	r := best.record.Clone()
	r.Generation = gen
	if r.Epoch > 0 {
		r.Epoch++ // nobody has acted in that one
	}
	r.Nonce = "recover"
	k.write(r)
}
