// Package simnet is virtual time and a virtual network for seeded tests.
//
// Loop is a discrete-event loop: one goroutine, a clock that jumps from event to
// event, and an order that depends on nothing but the calls made. With all
// randomness drawn from one seeded source, a run is a function of its seed.
// Net connects named nodes with sessions that delay, break, and can be cut in
// one direction. Neither knows what it carries.
package simnet

import (
	"container/heap"
	"time"
)

// Loop runs functions in virtual time. Not safe for concurrent use.
type Loop struct {
	now   time.Duration
	seq   uint64
	queue eventQueue
}

// Now returns the time since the loop began.
func (l *Loop) Now() time.Duration { return l.now }

// After runs fn when d has passed. Functions due at one time run in the order
// in which they were scheduled.
func (l *Loop) After(d time.Duration, fn func()) {
	l.seq++
	heap.Push(&l.queue, event{l.now + max(d, 0), l.seq, fn})
}

// Step runs the next function and reports false if there is none up to limit.
func (l *Loop) Step(limit time.Duration) bool {
	if len(l.queue) == 0 || l.queue[0].at > limit {
		l.now = max(l.now, limit)
		return false
	}
	e := heap.Pop(&l.queue).(event)
	l.now = e.at
	e.fn()
	return true
}

type event struct {
	at  time.Duration
	seq uint64
	fn  func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || (q[i].at == q[j].at && q[i].seq < q[j].seq)
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}
