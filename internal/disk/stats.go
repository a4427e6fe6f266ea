package disk

import (
	"sync/atomic"
	"time"

	"github.com/tandemail/tandemail/internal/latency"
)

// Stats are a Disk's counters since New, and two gauges.
type Stats struct {
	Syncs   uint64 // finished, failed ones included
	Joined  uint64 // calls that shared another caller's sync
	Failed  uint64
	Latency latency.Counts // of all syncs, waiting in the queue excluded
	Longest time.Duration

	Waiting int // in the queue now
	Running int // being done now
}

type counters struct {
	joined, failed atomic.Uint64
	longest        atomic.Int64
	took           *latency.Histogram
}

func newCounters() counters {
	return counters{took: latency.New(
		250*time.Microsecond, 500*time.Microsecond,
		time.Millisecond, 2500*time.Microsecond, 5*time.Millisecond,
		10*time.Millisecond, 25*time.Millisecond, 50*time.Millisecond,
		100*time.Millisecond, 250*time.Millisecond, 500*time.Millisecond,
		time.Second, 5*time.Second,
	)}
}

func (c *counters) observe(took time.Duration, err error) {
	if err != nil {
		c.failed.Add(1)
	}
	for {
		old := c.longest.Load()
		if int64(took) <= old || c.longest.CompareAndSwap(old, int64(took)) {
			break
		}
	}
	c.took.Observe(took)
}

func (c *counters) snapshot() Stats {
	s := Stats{
		Joined:  c.joined.Load(),
		Failed:  c.failed.Load(),
		Latency: c.took.Counts(),
		Longest: time.Duration(c.longest.Load()),
	}
	s.Syncs = s.Latency.Total()
	return s
}
