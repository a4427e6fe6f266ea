package bench

import (
	"context"
	"io"
	"sync"
	"time"
)

const (
	maxIntervals = 24 * 3600 // entries of Report.Intervals
	maxCodes     = 32        // different error codes of one operation; others are "other"
)

// tally counts what one client did since the last look. The client adds, the
// meter takes; they meet once a second.
type tally struct {
	mu  sync.Mutex
	ops []count
}

type count struct {
	latency Histogram
	octets  int64
	errors  map[string]int64
}

func (t *tally) done(op int, took time.Duration, octets int) {
	t.mu.Lock()
	t.ops[op].latency.Add(took)
	t.ops[op].octets += int64(octets)
	t.mu.Unlock()
}

func (t *tally) failed(op int, code string) {
	t.mu.Lock()
	t.ops[op].fail(code, 1)
	t.mu.Unlock()
}

func (c *count) fail(code string, n int64) {
	if c.errors == nil {
		c.errors = map[string]int64{}
	}
	if _, known := c.errors[code]; !known && len(c.errors) >= maxCodes {
		code = "other"
	}
	c.errors[code] += n
}

func (c *count) merge(o *count) {
	c.latency.Merge(&o.latency)
	c.octets += o.octets
	for code, n := range o.errors {
		c.fail(code, n)
	}
}

// meter adds up the tallies of all clients.
type meter struct {
	names     []string
	tallies   []*tally
	total     []count
	intervals []Interval
	begin     time.Time
	progress  io.Writer
}

func newMeter(clients int, progress io.Writer, names ...string) *meter {
	m := &meter{names: names, total: make([]count, len(names)), begin: time.Now(), progress: progress}
	for range clients {
		m.tallies = append(m.tallies, &tally{ops: make([]count, len(names))})
	}
	return m
}

// run collects once a second until ctx ends.
func (m *meter) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.collect()
		case <-ctx.Done():
			return
		}
	}
}

func (m *meter) collect() {
	var all Histogram
	var errors int64
	for _, t := range m.tallies {
		t.mu.Lock()
		for i := range t.ops {
			all.Merge(&t.ops[i].latency)
			for _, n := range t.ops[i].errors {
				errors += n
			}
			m.total[i].merge(&t.ops[i])
			t.ops[i] = count{}
		}
		t.mu.Unlock()
	}
	iv := Interval{time.Since(m.begin).Seconds(), all.Count(), errors, ms(all.Quantile(0.99)), ms(all.Max())}
	if len(m.intervals) < maxIntervals {
		m.intervals = append(m.intervals, iv)
	}
	if m.progress != nil {
		iv.writeText(m.progress)
	}
}

// report ends the measurement; run must have returned.
func (m *meter) report(protocol string) Report {
	took := time.Since(m.begin).Seconds()
	m.collect()
	r := Report{Protocol: protocol, Connections: len(m.tallies), Seconds: took, Intervals: m.intervals}
	for i := range m.total {
		c := &m.total[i]
		errors := c.errors
		if errors == nil {
			errors = map[string]int64{}
		}
		r.Operations = append(r.Operations, Operation{
			m.names[i], c.latency.Count(), float64(c.latency.Count()) / max(took, 1e-9), c.octets, latencyOf(&c.latency), errors,
		})
	}
	return r
}
