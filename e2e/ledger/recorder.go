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

// Summary counts a history.
type Summary struct {
	Deliveries [3]int         // indexed by Outcome
	Changes    [3]int         // by IMAP clients, indexed by Outcome
	Acked      map[string]int // acknowledged, by kind; a kind that was never is 0
	Looks      int
}

// Summarize counts.
func Summarize(history []Event) Summary {
	s := Summary{Acked: map[string]int{"delivery": 0, "append": 0, "store": 0, "copy": 0, "move": 0, "expunge": 0}}
	for _, e := range history {
		switch e.Change.(type) {
		case Observe:
			s.Looks++
			continue
		case Deliver:
			s.Deliveries[e.Outcome]++
		default:
			s.Changes[e.Outcome]++
		}
		if e.Outcome == Acked {
			s.Acked[kind(e.Change)]++
		}
	}
	return s
}

func kind(change Change) string {
	switch c := change.(type) {
	case Deliver:
		return "delivery"
	case Append:
		return "append"
	case Store:
		return "store"
	case Expunge:
		return "expunge"
	case Copy:
		if c.Move {
			return "move"
		}
	}
	return "copy"
}
