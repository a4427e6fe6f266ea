package sim

import (
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
)

// controller is a stub of the elected loop: it reads the record, hears the slots
// it can reach, and nominates by replica.Nominee. Several run at once and do not
// know of each other: elections do not make anything safe.
type controller struct {
	w     *World
	name  string
	seen  cluster.Rev // highest revision of the coordinator ever seen, on its disk
	dead  bool
	steps int // it dies after so many more; -1: it does not
	heard map[*Slot]report
	cut   map[*Slot]bool
	lost  time.Duration // since when no live master is heard; 0 if one is
}

type report struct {
	at    time.Duration
	claim replica.Claim
}

const (
	controllerEvery = 300 * time.Millisecond
	reportFresh     = time.Second
)

func (c *controller) run() {
	if c.lives() {
		c.listen()
	}
	if c.lives() {
		c.decide()
	}
	c.w.loop.After(controllerEvery, c.run)
}

// lives is asked before each step; a fault may have it die at any of them.
func (c *controller) lives() bool {
	if c.steps--; c.steps == 0 && !c.dead {
		c.dead = true
		c.w.loop.After(c.w.between(time.Second, 10*time.Second), func() { c.dead = false })
	}
	return !c.dead
}

// listen asks every slot for its state; answers arrive when they arrive.
func (c *controller) listen() {
	for _, s := range c.w.all() {
		if s.core == nil || s.paused || s.exiled || c.cut[s] {
			continue
		}
		claim := replica.Claim{Slot: s.id, State: s.core.State()}
		at := c.w.loop.Now()
		c.w.loop.After(c.w.delay(), func() { c.heard[s] = report{at, claim} })
	}
}

// fresh are the claims heard of late.
func (c *controller) fresh() []replica.Claim {
	var out []replica.Claim
	for _, s := range c.w.all() {
		if r, ok := c.heard[s]; ok && c.w.loop.Now() < r.at+reportFresh {
			out = append(out, r.claim)
		}
	}
	return out
}

// trusts reads the record; ok is false if the coordinator is down or went back.
func (c *controller) trusts() (r cluster.StoreRecord, ok bool) {
	k := c.w.coord
	if k.down {
		return r, false
	}
	if k.global < c.seen && c.w.cfg.Mutate&replica.TrustRewound == 0 && k.record.Generation == 1 {
		return r, false
	}
	c.seen = k.global
	return k.record.Clone(), true
}

func (c *controller) decide() {
	r, ok := c.trusts()
	if !ok {
		return
	}
	claims := c.fresh()
	for _, cl := range claims {
		if cl.Slot == r.Master && cl.State.Incarnation == r.Incarnation {
			c.lost = 0
			return
		}
	}
	if c.lost == 0 {
		c.lost = c.w.loop.Now()
	}
	if r.Epoch != 0 && c.w.loop.Now() < c.lost+time.Second {
		return
	}
	c.nominate(r, claims)
}

// nominate asks the slot replica.Nominee names.
func (c *controller) nominate(r cluster.StoreRecord, claims []replica.Claim) {
	rev, coordRev := c.w.coord.rev, c.w.coord.global
	if c.w.cfg.Mutate&replica.TrustRewound != 0 {
		rev, coordRev = 1<<62, 1<<62
	}
	id, err := replica.Nominee(r, rev, coordRev, claims)
	if err != nil {
		return
	}
	s := c.w.slotByID(id)
	if c.cut[s] || s.exiled || !c.lives() {
		return
	}
	inc := s.incarnation
	c.w.note(c.name, "nominates", s.name)
	c.w.loop.After(c.w.delay(), func() {
		if s.incarnation == inc && s.core != nil {
			s.step(replica.Nominate{CoordRev: c.seen})
		}
	})
}

// verdict answers a master that would go alone: if a replica is heard and could
// take over, it does.
func (c *controller) verdict(asker *Slot) replica.Verdict {
	r, ok := c.trusts()
	if !ok || c.cut[asker] || asker.exiled || !c.lives() {
		return replica.NoVerdict
	}
	var others []replica.Claim
	for _, cl := range c.fresh() {
		if cl.Slot != asker.id {
			others = append(others, cl)
		}
	}
	if _, err := replica.Nominee(r, c.w.coord.rev, c.w.coord.global, others); err == nil {
		c.nominate(r, others)
		if !c.lives() {
			return replica.NoVerdict // it died between nomination and answer
		}
		return replica.HandOver
	}
	return replica.GoAlone
}

// askController carries a master's question to the first controller that answers.
func (w *World) askController(s *Slot) {
	v := replica.NoVerdict
	for _, c := range w.controllers {
		if v = c.verdict(s); v != replica.NoVerdict {
			break
		}
	}
	s.after(w.delay(), func() { s.step(replica.ControllerAnswered{Verdict: v}) })
}
