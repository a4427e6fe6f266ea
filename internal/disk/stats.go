package disk

import (
	"sync/atomic"
	"time"
)

// latencyBounds are the upper bounds of Stats.Buckets but the last, which has none.
var latencyBounds = [...]time.Duration{
	250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 5 * time.Second,
}

// LatencyBounds returns the upper bounds of the buckets in Stats. The last
// bucket, beyond them, is unbounded.
func LatencyBounds() []time.Duration { return latencyBounds[:] }

// Stats are a Disk's counters since New, and two gauges.
type Stats struct {
	Syncs   uint64 // finished, failed ones included
	Joined  uint64 // calls that shared another caller's sync
	Failed  uint64
	Total   time.Duration // sum over all syncs, waiting in the queue excluded
	Longest time.Duration
	Buckets [len(latencyBounds) + 1]uint64 // by latency, not cumulative

	Waiting int // in the queue now
	Running int // being done now
}

type counters struct {
	joined, failed atomic.Uint64
	total, longest atomic.Int64
	buckets        [len(latencyBounds) + 1]atomic.Uint64
}

func (c *counters) observe(took time.Duration, err error) {
	if err != nil {
		c.failed.Add(1)
	}
	c.total.Add(int64(took))
	for {
		old := c.longest.Load()
		if int64(took) <= old || c.longest.CompareAndSwap(old, int64(took)) {
			break
		}
	}
	i := 0
	for i < len(latencyBounds) && took > latencyBounds[i] {
		i++
	}
	c.buckets[i].Add(1)
}

func (c *counters) snapshot() Stats {
	s := Stats{
		Joined:  c.joined.Load(),
		Failed:  c.failed.Load(),
		Total:   time.Duration(c.total.Load()),
		Longest: time.Duration(c.longest.Load()),
	}
	for i := range c.buckets {
		s.Buckets[i] = c.buckets[i].Load()
		s.Syncs += s.Buckets[i]
	}
	return s
}
