package ledger

import "slices"

// pending is a change without answer. It takes effect wholly, at any later time,
// or never; evidence in a look decides.
type pending struct {
	change Change
	done   bool
}

// suspend notes a change whose answer was lost.
func (c *checker) suspend(change Change) {
	tokens := c.tokensOf(change)
	if len(tokens) == 0 {
		return // a delivery, which is counted, or nothing to change
	}
	for t := range tokens {
		c.closed[t] = true
	}
	c.open = append(c.open, &pending{change: change})
}

// settle lets those changes take effect whose whole effect the look at b shows.
// What shows only in part stays open, and the comparison that follows reports it.
func (c *checker) settle(b *box, s *snapshot) {
	for _, p := range c.open {
		switch ch := p.change.(type) {
		case Append:
			if ch.Box == b.name {
				p.done = s.place(b, []*instance{{ch.Token, ch.Flags}})
			}
		case Store:
			if ch.Box == b.name {
				p.done = settleStore(b, s, ch)
			}
		case Expunge:
			if ch.Box == b.name {
				p.done = settleExpunge(b, s, ch)
			}
		case Copy:
			p.done = c.settleCopy(b, s, ch)
		}
	}
	c.open = slices.DeleteFunc(c.open, func(p *pending) bool { return p.done })
}

func settleStore(b *box, s *snapshot, ch Store) bool {
	for _, u := range ch.UIDs {
		if m := b.mail[u]; m == nil || s.messages[u].Flags != m.flags.Apply(ch.Mode, ch.Flags) {
			return false
		}
	}
	for _, u := range ch.UIDs {
		b.mail[u].flags = b.mail[u].flags.Apply(ch.Mode, ch.Flags)
	}
	return true
}

func settleExpunge(b *box, s *snapshot, ch Expunge) bool {
	targets := deletable(b, ch.UIDs)
	if s.hasAny(targets) {
		return false
	}
	for _, u := range targets {
		delete(b.mail, u)
	}
	return true
}

func (c *checker) settleCopy(b *box, s *snapshot, ch Copy) bool {
	from, to := c.box(ch.From), c.box(ch.To)
	var copies []*instance
	for _, u := range ch.UIDs {
		if m := from.mail[u]; m != nil {
			copies = append(copies, &instance{m.token, m.flags})
		}
	}
	switch {
	case b == to && s.place(b, copies):
	case b == from && ch.Move && !s.hasAny(ch.UIDs):
		to.unplaced = append(to.unplaced, copies...)
	default:
		return false
	}
	if ch.Move {
		for _, u := range ch.UIDs {
			delete(from.mail, u)
		}
	}
	return true
}
