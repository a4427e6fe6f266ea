package simnet

import (
	"slices"
	"testing"
	"time"
)

// node notes what its sessions bring.
type node struct {
	sessions []uint64
	got      []any
}

func (n *node) Up(id uint64, _ string) { n.sessions = append(n.sessions, id) }
func (n *node) Down(id uint64) {
	n.sessions = slices.DeleteFunc(n.sessions, func(s uint64) bool { return s == id })
}
func (n *node) Receive(_ uint64, msg any) { n.got = append(n.got, msg) }
func (n *node) session(t *testing.T) uint64 {
	t.Helper()
	if len(n.sessions) != 1 {
		t.Fatalf("%d sessions, want one", len(n.sessions))
	}
	return n.sessions[0]
}

// pair connects two nodes; each message takes less time than the one before.
func pair() (*Loop, *Net, *node, *node) {
	l := &Loop{}
	delay := 20 * time.Millisecond
	n := &Net{Loop: l, Timeout: func() time.Duration { return time.Second }}
	n.Delay = func() time.Duration {
		delay = max(delay-time.Millisecond, time.Millisecond)
		return delay
	}
	a, b := &node{}, &node{}
	n.Join("a", a)
	n.Join("b", b)
	run(l, time.Second)
	return l, n, a, b
}

func run(l *Loop, d time.Duration) {
	limit := l.Now() + d
	for l.Step(limit) {
	}
}

func TestMessagesOfASessionArriveInOrder(t *testing.T) {
	l, n, a, b := pair()
	for i := range 10 {
		n.Send(a.session(t), "a", i)
	}
	run(l, time.Second)
	if !slices.IsSorted(ints(b.got)) || len(b.got) != 10 {
		t.Errorf("got %v", b.got)
	}
}

func TestACutHoldsOneDirectionAndThenBreaksTheSession(t *testing.T) {
	l, n, a, b := pair()
	n.Cut("a", "b")
	n.Send(a.session(t), "a", 1)
	n.Send(b.session(t), "b", 2)
	run(l, 500*time.Millisecond)
	if len(b.got) != 0 || len(a.got) != 1 {
		t.Fatalf("a got %v, b got %v; want only b's message to pass", a.got, b.got)
	}
	n.Heal("a", "b")
	run(l, 100*time.Millisecond)
	if len(b.got) != 1 {
		t.Fatalf("healed, b got %v", b.got)
	}
	old := a.session(t)
	n.Cut("a", "b")
	run(l, 5*time.Second)
	if len(a.sessions)+len(b.sessions) != 0 {
		t.Fatalf("sessions %v and %v outlived the cut", a.sessions, b.sessions)
	}
	n.Heal("a", "b")
	run(l, time.Second)
	if a.session(t) == old || a.session(t) != b.session(t) {
		t.Errorf("sessions %v and %v after %d", a.sessions, b.sessions, old)
	}
}

func TestNothingArrivesFromABrokenSession(t *testing.T) {
	l, n, a, b := pair()
	s := a.session(t)
	n.Send(s, "a", 1)
	n.Leave("b", false)
	run(l, time.Second)
	n.Send(s, "a", 2)
	run(l, time.Second)
	if len(b.got) != 0 || len(a.sessions) != 0 {
		t.Errorf("b got %v, a has %v", b.got, a.sessions)
	}
}

func ints(xs []any) []int {
	var out []int
	for _, x := range xs {
		out = append(out, x.(int))
	}
	return out
}
