package accept

import (
	"sync"
	"time"
)

// Refusal is why a connection was not taken.
type Refusal uint8

// The reasons.
const (
	admitted Refusal = iota
	Stopping         // the server ends
	Full             // too many connections in all
	Crowded          // too many connections of this address
)

// String names r for the log.
func (r Refusal) String() string {
	return [...]string{"none", "shutting down", "too many connections", "too many connections of one address"}[r]
}

// refusalPause is between two lines of the log about refusals.
const refusalPause = 10 * time.Second

// refusals counts refusals between lines of the log.
type refusals struct {
	mu    sync.Mutex
	since int
	last  time.Time
}

// count counts one, and returns how many there were since it last returned a
// number above zero; zero while it is too early for that.
func (r *refusals) count(now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since++; !r.last.IsZero() && now.Sub(r.last) < refusalPause {
		return 0
	}
	n := r.since
	r.since, r.last = 0, now
	return n
}
