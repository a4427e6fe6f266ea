// Package latency counts how long things took, in buckets, for whoever shows
// figures. It has no clock and keeps no single duration.
//
// Any goroutine may use a Histogram; observing is two atomic additions.
package latency

import (
	"sync/atomic"
	"time"
)

// Histogram counts durations by their length. Use New.
type Histogram struct {
	bounds  []time.Duration
	buckets []atomic.Uint64 // the last is beyond all bounds
	sum     atomic.Int64
}

// New returns an empty Histogram with these upper bounds, ascending and inclusive.
func New(bounds ...time.Duration) *Histogram {
	return &Histogram{bounds: bounds, buckets: make([]atomic.Uint64, len(bounds)+1)}
}

// Observe counts one duration.
func (h *Histogram) Observe(took time.Duration) {
	i := 0
	for i < len(h.bounds) && took > h.bounds[i] {
		i++
	}
	h.sum.Add(int64(took))
	h.buckets[i].Add(1)
}

// Counts is what a Histogram has counted since New. The zero value has counted nothing.
type Counts struct {
	Bounds  []time.Duration // not to be changed
	Buckets []uint64        // each its own, not cumulative; the last is beyond all bounds
	Sum     time.Duration
}

// Counts returns a snapshot.
func (h *Histogram) Counts() Counts {
	c := Counts{Bounds: h.bounds, Buckets: make([]uint64, len(h.buckets)), Sum: time.Duration(h.sum.Load())}
	for i := range h.buckets {
		c.Buckets[i] = h.buckets[i].Load()
	}
	return c
}

// Total is how many durations were counted.
func (c Counts) Total() uint64 {
	var n uint64
	for _, b := range c.Buckets {
		n += b
	}
	return n
}
