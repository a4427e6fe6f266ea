package simnet

import (
	"slices"
	"time"
)

// Node is one end of the network's sessions.
type Node interface {
	Up(session uint64, peer string)
	Down(session uint64)
	Receive(session uint64, msg any)
}

// Net keeps one session between every two nodes that are there and can reach
// each other. Messages of a session arrive in order or not at all.
type Net struct {
	Loop *Loop
	// Delay draws the time a message takes.
	Delay func() time.Duration
	// Timeout draws how long an end takes to notice that the other is silent.
	Timeout func() time.Duration

	nodes    []member
	sessions []*session
	last     uint64
	cut      map[[2]string]bool
}

type member struct {
	name string
	node Node
}

type session struct {
	id   uint64
	ends [2]member
	up   [2]bool          // the end still has the session
	held [2][]any         // per direction, index of the sender: waiting for a cut to heal
	due  [2]time.Duration // per direction: arrival of the last message
	open bool             // neither end has closed it
	told [2]bool          // Up was delivered
}

// Join adds a node; it is connected to the others soon.
func (n *Net) Join(name string, node Node) {
	if n.cut == nil {
		n.cut = map[[2]string]bool{}
	}
	n.nodes = append(n.nodes, member{name, node})
	for _, m := range n.nodes {
		n.reconnect(m.name, name)
	}
}

// Leave removes a node. Its peers notice at once if the process died and its
// kernel lives, else after a timeout.
func (n *Net) Leave(name string, silent bool) {
	n.nodes = slices.DeleteFunc(n.nodes, func(m member) bool { return m.name == name })
	for _, s := range n.sessions {
		for i := range s.ends {
			if s.ends[i].name == name && s.up[i] {
				s.up[i], s.open = false, false
				n.notice(s, 1-i, silent)
			}
		}
	}
	n.sweep()
}

// Close ends a session from the side of name.
func (n *Net) Close(id uint64, name string) {
	if s := n.find(id); s != nil {
		i := s.side(name)
		s.up[i], s.open = false, false
		n.notice(s, 1-i, n.cut[[2]string{name, s.ends[1-i].name}])
		n.reconnect(s.ends[0].name, s.ends[1].name)
		n.sweep()
	}
}

// Send carries msg to the other end of the session. It never fails at once.
func (n *Net) Send(id uint64, from string, msg any) {
	s := n.find(id)
	if s == nil {
		return
	}
	i := s.side(from)
	if !s.up[i] {
		return
	}
	if n.cut[[2]string{from, s.ends[1-i].name}] {
		s.held[i] = append(s.held[i], msg)
		return
	}
	n.carry(s, i, msg)
}

// Cut stops messages from one node to another. If it lasts, both ends give the
// session up, each in its own time.
func (n *Net) Cut(from, to string) {
	n.cut[[2]string{from, to}] = true
	for _, s := range n.sessions {
		if s.open && s.joins(from, to) {
			n.giveUp(s)
		}
	}
}

// Heal undoes Cut: what was held arrives.
func (n *Net) Heal(from, to string) {
	delete(n.cut, [2]string{from, to})
	for _, s := range n.sessions {
		if !s.joins(from, to) {
			continue
		}
		i := s.side(from)
		held := s.held[i]
		s.held[i] = nil
		for _, msg := range held {
			n.carry(s, i, msg)
		}
	}
	n.reconnect(from, to)
}

// IsCut reports whether messages from one node to the other are stopped.
func (n *Net) IsCut(from, to string) bool { return n.cut[[2]string{from, to}] }

// Break ends every session between two nodes, as a reset does.
func (n *Net) Break(a, b string) {
	for _, s := range n.sessions {
		if s.open && s.joins(a, b) {
			s.open = false
			n.notice(s, 0, false)
			n.notice(s, 1, false)
		}
	}
	n.reconnect(a, b)
}

func (n *Net) find(id uint64) *session {
	for _, s := range n.sessions {
		if s.id == id {
			return s
		}
	}
	return nil
}

func (s *session) side(name string) int {
	if s.ends[1].name == name {
		return 1
	}
	return 0
}

func (s *session) joins(a, b string) bool {
	return (s.ends[0].name == a && s.ends[1].name == b) || (s.ends[0].name == b && s.ends[1].name == a)
}

func (n *Net) carry(s *session, from int, msg any) {
	s.due[from] = max(s.due[from], n.Loop.Now()+n.Delay())
	to := 1 - from
	n.Loop.After(s.due[from]-n.Loop.Now(), func() {
		if s.up[to] && s.told[to] {
			s.ends[to].node.Receive(s.id, msg)
		}
	})
}

// notice lets one end see that its session is over.
func (n *Net) notice(s *session, end int, silent bool) {
	d := n.Delay()
	if silent {
		d = n.Timeout()
	}
	n.Loop.After(d, func() {
		if s.up[end] {
			s.up[end] = false
			if s.told[end] {
				s.ends[end].node.Down(s.id)
			}
			n.sweep()
		}
	})
}

// giveUp ends a session whose one direction stays cut.
func (n *Net) giveUp(s *session) {
	n.Loop.After(n.Timeout(), func() {
		a, b := s.ends[0].name, s.ends[1].name
		if !s.open || (!n.cut[[2]string{a, b}] && !n.cut[[2]string{b, a}]) {
			return
		}
		s.open = false
		n.notice(s, 0, true)
		n.notice(s, 1, true)
	})
}

// reconnect opens a session between two nodes as soon as both are there and
// neither direction is cut.
func (n *Net) reconnect(a, b string) {
	if a == b {
		return
	}
	n.Loop.After(n.Delay()+50*time.Millisecond, func() {
		i := slices.IndexFunc(n.nodes, func(m member) bool { return m.name == a })
		j := slices.IndexFunc(n.nodes, func(m member) bool { return m.name == b })
		if i < 0 || j < 0 || n.cut[[2]string{a, b}] || n.cut[[2]string{b, a}] {
			return // tried again by Join or Heal
		}
		if slices.ContainsFunc(n.sessions, func(s *session) bool { return s.open && s.joins(a, b) }) {
			return
		}
		n.last++
		s := &session{id: n.last, ends: [2]member{n.nodes[i], n.nodes[j]}, up: [2]bool{true, true}, open: true}
		n.sessions = append(n.sessions, s)
		for end := range s.ends {
			d := n.Delay()
			s.due[1-end] = n.Loop.Now() + d // nothing arrives before Up
			n.Loop.After(d, func() {
				if s.up[end] {
					s.told[end] = true
					s.ends[end].node.Up(s.id, s.ends[1-end].name)
				}
			})
		}
	})
}

// sweep forgets sessions that no end has any more.
func (n *Net) sweep() {
	n.sessions = slices.DeleteFunc(n.sessions, func(s *session) bool { return !s.open && !s.up[0] && !s.up[1] })
}
