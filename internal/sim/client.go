package sim

import "time"

// client writes one operation after another, each until it is acknowledged, and
// asks any slot that might serve.
type client struct {
	w    *World
	op   OpID
	next *Slot
	took bool // some slot took the operation in
	once bool // no other operation after this one
}

func (c *client) run() {
	if c.w.quiet || c.once {
		return
	}
	c.w.lastOp++
	c.op, c.took = c.w.lastOp, false
	c.try()
}

func (c *client) try() {
	if m := c.w.master(); m != nil && c.w.chance(0.7) {
		c.next = m
	} else {
		c.next = c.w.slots[c.w.rng.IntN(len(c.w.slots))]
	}
	answered := false
	c.next.awake(func() {
		c.next.propose(c.op, func(o outcome) {
			if answered {
				return
			}
			answered = true
			c.answer(o)
		})
	})
	c.w.loop.After(c.w.between(200*time.Millisecond, 3*time.Second), func() {
		if !answered {
			answered = true
			c.took = true
			c.again()
		}
	})
}

func (c *client) answer(o outcome) {
	switch o {
	case done:
		c.w.acks++
		c.w.loop.After(c.w.think(), c.run)
	case unknown:
		c.took = true
		c.again()
	case refused:
		if !c.took && c.w.chance(0.1) {
			c.w.check.refusedOps[c.op] = true // given up, answered NO
			c.w.loop.After(c.w.think(), c.run)
			return
		}
		c.again()
	}
}

func (c *client) again() {
	if c.w.quiet && !c.took {
		return
	}
	c.w.loop.After(c.w.think()+100*time.Millisecond, c.try)
}

// reader begins a read now and puts it to every slot a little later: whoever
// believes to serve must show all that was acknowledged before it began.
func (w *World) reader() {
	began := w.check.acknowledged()
	for _, s := range w.slots {
		w.loop.After(w.delay(), func() {
			s.awake(func() {
				if s.core != nil && s.serving && s.now() < s.lease {
					w.check.read(s, began)
				}
			})
		})
	}
	w.loop.After(w.think(), w.reader)
}
