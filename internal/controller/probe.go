package controller

import (
	"context"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/plan"
)

// perMachine keeps one goroutine for every machine of the cluster until ctx ends.
func (c *Controller) perMachine(ctx context.Context, run func(ctx context.Context, m cluster.Machine)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	running := map[cluster.Machine]context.CancelFunc{}
	tick := time.NewTicker(c.cfg.Timing.ProbeEvery)
	defer tick.Stop()
	for {
		there := map[cluster.Machine]bool{}
		for _, m := range c.world.names() {
			if there[m] = true; running[m] == nil {
				own, stop := context.WithCancel(ctx)
				running[m] = stop
				wg.Go(func() { run(own, m) })
			}
		}
		for m, stop := range running {
			if !there[m] {
				stop()
				delete(running, m)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			for _, stop := range running {
				stop()
			}
			return
		}
	}
}

func (c *Controller) probeAll(ctx context.Context) { c.perMachine(ctx, c.probe) }

// probe looks at one machine every ProbeEvery.
func (c *Controller) probe(ctx context.Context, m cluster.Machine) {
	t := c.cfg.Timing
	tick := time.NewTicker(t.ProbeEvery)
	defer tick.Stop()
	last := c.cfg.Now()
	for {
		started := c.cfg.Now()
		err := c.probeOnce(ctx, m)
		ended := c.cfg.Now()
		switch late := started.Sub(last) > 2*t.ProbeEvery || ended.Sub(started) > t.ProbeTimeout+t.ProbeEvery; {
		case ctx.Err() != nil:
			return
		case late:
			c.world.forgetProbe(m) // it was us who did not run
		default:
			c.world.probed(m, started, ended, err)
		}
		last = started
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *Controller) probeOnce(ctx context.Context, m cluster.Machine) error {
	record, _, ok := c.world.record(m)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timing.ProbeTimeout)
	defer cancel()
	return c.cfg.Eyes.Probe(ctx, record)
}

func (w *world) forgetProbe(name cluster.Machine) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m := w.machines[name]; m != nil {
		m.probe = plan.Probe{UpSince: m.probe.UpSince}
	}
}

// probed takes the result of a probe.
func (w *world) probed(name cluster.Machine, started, ended time.Time, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.machines[name]
	if m == nil {
		return
	}
	before := m.probe
	m.probe.Known = true
	switch {
	case err == nil:
		m.probe = plan.Probe{Known: true, UpSince: before.UpSince}
		if before.UpSince.IsZero() {
			m.probe.UpSince = ended
		}
	case before.Failures == 0:
		m.probe = plan.Probe{Known: true, Failures: 1, Refused: refused(err), Since: started}
	default:
		m.probe.Failures++
		m.probe.Refused = before.Refused && refused(err)
	}
	if before.Failures != m.probe.Failures {
		signal(w.changed)
		if before.Failures == 0 || m.probe.Failures == 0 {
			w.lookAtAll() // others may know more
		}
	}
}

// lookAtAll is called under the lock.
func (w *world) lookAtAll() {
	for _, m := range w.machines {
		signal(m.look)
	}
}
