package ledger

import (
	"cmp"
	"fmt"
	"slices"
)

// Check returns everything in the history that does not fit. The order of the
// events does not matter.
func Check(history []Event) []Violation {
	history = slices.Clone(history)
	slices.SortFunc(history, func(a, b Event) int { return cmp.Compare(a.End, b.End) })
	c := &checker{boxes: map[Box]*box{}, attempts: map[string]map[Token][]Event{}, closed: map[Token]bool{}}
	for _, e := range history {
		if d, ok := e.Change.(Deliver); ok {
			c.attempt(e, d)
		}
	}
	for _, e := range history {
		c.event(e)
	}
	c.unread()
	return c.violations
}

type checker struct {
	boxes      map[Box]*box
	attempts   map[string]map[Token][]Event // deliveries by user and token
	open       []*pending                   // changes without answer whose effect was not seen
	closed     map[Token]bool               // tokens that a change without answer touched
	violations []Violation
}

func (c *checker) box(name Box) *box {
	b := c.boxes[name]
	if b == nil {
		b = newBox(name)
		c.boxes[name] = b
	}
	return b
}

func (c *checker) violate(b *box, uid uint32, token Token, format string, args ...any) {
	c.violations = append(c.violations, Violation{b.name, uid, token, fmt.Sprintf(format, args...)})
}

func (c *checker) attempt(e Event, d Deliver) {
	if c.attempts[d.User] == nil {
		c.attempts[d.User] = map[Token][]Event{}
	}
	c.attempts[d.User][d.Token] = append(c.attempts[d.User][d.Token], e)
}

func (c *checker) event(e Event) {
	if o, ok := e.Change.(Observe); ok {
		b := c.box(o.Box)
		b.looked = max(b.looked, e.Begin)
		c.look(e, o, b)
		return
	}
	for _, name := range e.Change.boxes() {
		b := c.box(name)
		b.changed = max(b.changed, e.End)
		if _, ok := e.Change.(Deliver); !ok && name.Name == Inbox {
			c.violate(b, 0, "", "malformed history: an IMAP client changed a mailbox of deliveries")
		}
	}
	if !c.mayTouch(e) {
		return
	}
	switch e.Outcome {
	case Acked:
		c.apply(e.Change)
	case Unknown:
		c.suspend(e.Change)
	case Refused: // and so it never happens
	}
}

// mayTouch reports whether the client kept to the rules of the test.
func (c *checker) mayTouch(e Event) bool {
	for token, b := range c.tokensOf(e.Change) {
		if c.closed[token] {
			c.violate(b, 0, token, "malformed history: changed after the answer to a change was lost")
			return false
		}
	}
	return true
}

// tokensOf returns the messages that an IMAP client's change is about.
func (c *checker) tokensOf(change Change) map[Token]*box {
	tokens := map[Token]*box{}
	add := func(name Box, uids []uint32) {
		b := c.box(name)
		for _, u := range uids {
			if m := b.mail[u]; m != nil {
				tokens[m.token] = b
			}
		}
	}
	switch ch := change.(type) {
	case Append:
		tokens[ch.Token] = c.box(ch.Box)
	case Store:
		add(ch.Box, ch.UIDs)
	case Copy:
		add(ch.From, ch.UIDs)
	case Expunge:
		add(ch.Box, ch.UIDs)
	}
	return tokens
}

// apply lets an acknowledged change take effect.
func (c *checker) apply(change Change) {
	switch ch := change.(type) {
	case Append:
		b := c.box(ch.Box)
		c.insert(b, ch.UID, b.top, ch.Validity, &instance{ch.Token, ch.Flags})
	case Store:
		b := c.box(ch.Box)
		for _, u := range ch.UIDs {
			if m := c.existing(b, u); m != nil {
				m.flags = m.flags.Apply(ch.Mode, ch.Flags)
			}
		}
	case Copy:
		c.applyCopy(ch)
	case Expunge:
		b := c.box(ch.Box)
		for _, u := range deletable(b, ch.UIDs) {
			delete(b.mail, u)
		}
	}
}

func (c *checker) applyCopy(ch Copy) {
	from, to := c.box(ch.From), c.box(ch.To)
	least := to.top
	for _, u := range ch.UIDs {
		m := c.existing(from, u)
		if m == nil {
			continue
		}
		if target, ok := ch.Targets[u]; ok {
			c.insert(to, target, least, ch.Validity, &instance{m.token, m.flags})
		} else {
			c.violate(from, u, m.token, "an acknowledged COPY or MOVE left it out")
		}
		if ch.Move {
			delete(from.mail, u)
		}
	}
}

// insert adds a message under the UID that was acknowledged, which must be at
// least least: the client's commands follow one another.
func (c *checker) insert(b *box, uid, least, validity uint32, m *instance) {
	if w := b.checkValidity(validity); w != "" {
		c.violate(b, uid, m.token, "acknowledged with another UIDVALIDITY: %s", w)
	}
	if _, known := b.tokens[uid]; known {
		c.violate(b, uid, m.token, "UID used twice: acknowledged for a new message, it was %s before", b.tokens[uid])
	} else if w := b.told(uid, m.token, least); w != "" {
		c.violate(b, uid, m.token, "%s", w)
	}
	b.mail[uid] = m
}

func (c *checker) existing(b *box, uid uint32) *instance {
	m := b.mail[uid]
	if m == nil {
		c.violate(b, uid, "", "malformed history: changed a message that the ledger does not have")
	}
	return m
}

// deletable returns those of uids that are there and have \Deleted.
func deletable(b *box, uids []uint32) []uint32 {
	var d []uint32
	for _, u := range uids {
		if m := b.mail[u]; m != nil && m.flags.Has(Deleted) {
			d = append(d, u)
		}
	}
	return d
}

// unread reports mailboxes that nobody looked at after the last change.
func (c *checker) unread() {
	for _, b := range c.boxes {
		if b.looked < b.changed {
			c.violate(b, 0, "", "malformed history: not looked at after its last change")
		}
	}
}
