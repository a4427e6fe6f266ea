package ledger

import (
	"slices"
	"sync"
)

// Recorder collects a history. Safe for concurrent use.
type Recorder struct {
	mu     sync.Mutex
	now    int64
	events []Event
}

// Begin gives the place in time at which something begins.
func (r *Recorder) Begin() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now++
	return r.now
}

// End writes down how what began at begin ended, now.
func (r *Recorder) End(begin int64, o Outcome, c Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now++
	r.events = append(r.events, Event{begin, r.now, o, c})
}

// History returns what was written down so far, in the order of the ends.
func (r *Recorder) History() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}
