package ledger

import (
	"maps"
	"slices"
)

// snapshot is a look, with what nobody has accounted for yet.
type snapshot struct {
	messages map[uint32]Message
	extra    []uint32 // UIDs that the ledger does not have, ascending
	fresh    map[uint32]bool
}

// place gives every one of ms a UID among the extra messages, or none of them.
func (s *snapshot) place(b *box, ms []*instance) bool {
	taken := map[uint32]*instance{}
	for _, m := range ms {
		i := slices.IndexFunc(s.extra, func(u uint32) bool {
			return taken[u] == nil && s.fresh[u] && s.messages[u].Token == m.token
		})
		if i < 0 {
			return false
		}
		taken[s.extra[i]] = m
	}
	for u, m := range taken {
		b.mail[u] = m
	}
	s.extra = slices.DeleteFunc(s.extra, func(u uint32) bool { return taken[u] != nil })
	return true
}

func (s *snapshot) hasAny(uids []uint32) bool {
	return slices.ContainsFunc(uids, func(u uint32) bool {
		_, ok := s.messages[u]
		return ok
	})
}

// look compares what was seen with what has to be there.
func (c *checker) look(e Event, o Observe, b *box) {
	s := c.snapshot(b, o)
	if b.name.Name == Inbox {
		c.countDeliveries(e, o, b)
		c.keepDelivered(b, s)
	} else {
		for _, m := range b.unplaced {
			if !s.place(b, []*instance{m}) {
				c.violate(b, 0, m.token, "lost: it was moved here")
			}
		}
		b.unplaced = nil
		c.settle(b, s)
		c.compare(b, s)
	}
	b.remember(o)
}

// snapshot checks what holds for every look and prepares the comparison.
func (c *checker) snapshot(b *box, o Observe) *snapshot {
	s := &snapshot{messages: map[uint32]Message{}, fresh: map[uint32]bool{}}
	for _, wrong := range b.checkCounters(o) {
		c.violate(b, 0, "", "%s", wrong)
	}
	for _, m := range o.Messages {
		if _, twice := s.messages[m.UID]; twice {
			c.violate(b, m.UID, m.Token, "listed twice in one look")
		}
		if _, known := b.tokens[m.UID]; !known {
			s.fresh[m.UID] = true
		}
		for _, wrong := range b.checkMessage(m) {
			c.violate(b, m.UID, m.Token, "%s", wrong)
		}
		s.messages[m.UID] = m
	}
	for _, u := range slices.Sorted(maps.Keys(s.messages)) {
		if b.mail[u] == nil {
			s.extra = append(s.extra, u)
		}
	}
	return s
}

// compare reports each difference once: afterwards the ledger has what was seen.
func (c *checker) compare(b *box, s *snapshot) {
	for _, u := range b.uids() {
		m := b.mail[u]
		got, ok := s.messages[u]
		switch {
		case !ok:
			c.violate(b, u, m.token, "lost")
			delete(b.mail, u)
		case got.Flags != m.flags:
			c.violate(b, u, m.token, "has flags %q, must have %q", got.Flags, m.flags)
			m.flags = got.Flags
		}
	}
	for _, u := range s.extra {
		m := s.messages[u]
		if s.fresh[u] {
			c.violate(b, u, m.Token, "nobody put it there: duplicate, refused, or part of a change")
		} else {
			c.violate(b, u, m.Token, "back after it was removed")
		}
		b.mail[u] = &instance{m.Token, m.Flags}
	}
}

// countDeliveries holds the number of messages with the same octets against the attempts.
func (c *checker) countDeliveries(e Event, o Observe, b *box) {
	have := map[Token]int{}
	for _, m := range o.Messages {
		have[m.Token]++
	}
	for token, attempts := range c.attempts[b.name.User] {
		least, most := 0, 0
		for _, a := range attempts {
			if a.Outcome == Acked && a.End < e.Begin {
				least++
			}
			if a.Outcome != Refused && a.Begin < e.End {
				most++
			}
		}
		switch n := have[token]; {
		case n < least:
			c.violate(b, 0, token, "lost: delivered %d times, %d are there", least, n)
		case n > most:
			c.violate(b, 0, token, "duplicate: at most %d deliveries, %d are there", most, n)
		}
		delete(have, token)
	}
	for _, token := range slices.Sorted(maps.Keys(have)) {
		c.violate(b, 0, token, "nobody delivered it")
	}
}

// keepDelivered holds that nothing leaves a mailbox of deliveries or changes in it.
func (c *checker) keepDelivered(b *box, s *snapshot) {
	for _, u := range b.uids() {
		m := b.mail[u]
		got, ok := s.messages[u]
		switch {
		case !ok:
			c.violate(b, u, m.token, "lost: an earlier look showed it")
			delete(b.mail, u)
		case got.Flags != m.flags:
			c.violate(b, u, m.token, "has flags %q, nobody changed %q", got.Flags, m.flags)
			m.flags = got.Flags
		}
	}
	for _, u := range s.extra {
		m := s.messages[u]
		if !s.fresh[u] {
			c.violate(b, u, m.Token, "back after it was gone")
		}
		if m.Flags != "" {
			c.violate(b, u, m.Token, "delivered with flags %q", m.Flags)
		}
		b.mail[u] = &instance{m.Token, m.Flags}
	}
}
