package controller

import (
	"context"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/plan"
)

// settle is the least time between two plans, so that news that come together
// are looked at together.
const settle = 10 * time.Millisecond

// lead acts until the term ends.
func (c *Controller) lead(ctx context.Context, term coord.Term) {
	c.cfg.Log.Info("controller elected", "machine", c.cfg.Machine)
	since := c.cfg.Now()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { c.perMachine(ctx, c.askAgent) })
	wg.Go(func() { c.pruneHistory(ctx, term) })
	x := newExecutor(c, term)
	defer x.wait()
	tick := time.NewTicker(c.cfg.Timing.AlertTick)
	defer tick.Stop()
	for {
		c.decide(ctx, x, since)
		pause := time.NewTimer(settle)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
		select {
		case <-c.world.changed:
		case <-tick.C: // times pass without news
		case <-ctx.Done():
			c.setReport(Report{})
			c.cfg.Log.Info("controller's term ended", "machine", c.cfg.Machine)
			return
		}
	}
}

// decide makes one plan and begins what it says.
func (c *Controller) decide(ctx context.Context, x *executor, since time.Time) {
	now := c.cfg.Now()
	snap := c.world.snapshot(now, c.cfg.Timing)
	p := plan.Make(snap, c.cfg.Policy, now)
	c.setReport(Report{Leading: true, Since: since, At: now, Problems: p.Problems, Actions: p.Actions, Seen: seen(&snap)})
	if snap.Settings.DryRun {
		return
	}
	for _, a := range p.Actions {
		x.begin(ctx, a)
	}
}

func seen(snap *plan.Snapshot) []Seen {
	var list []Seen
	for _, m := range snap.Machines {
		if !m.StatusAt.IsZero() {
			list = append(list, Seen{m.Machine, m.StatusAt, m.Slots})
		}
	}
	return list
}

func (c *Controller) setReport(r Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report = r
}

// alert: something is wrong that fresher statuses may help to decide.
func (c *Controller) alert() bool {
	for _, p := range c.Report().Problems {
		switch p.Code {
		case plan.MachineDead, plan.MachineSilent, plan.NoMaster, plan.NoCandidate:
			return true
		}
	}
	return false
}

// askAgent asks one machine's agent every Tick, sooner when something is wrong.
func (c *Controller) askAgent(ctx context.Context, name cluster.Machine) {
	t := c.cfg.Timing
	for {
		record, look, ok := c.world.record(name)
		if ok && record.Storage {
			c.askOnce(ctx, record)
		}
		every := t.Tick
		if c.alert() {
			every = t.AlertTick
		}
		next := time.NewTimer(every)
		select {
		case <-next.C:
		case <-look:
			next.Stop()
		case <-ctx.Done():
			next.Stop()
			return
		}
	}
}

func (c *Controller) askOnce(ctx context.Context, record coord.MachineRecord) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timing.StatusTime)
	defer cancel()
	asked := c.cfg.Now()
	status, err := c.cfg.Eyes.Status(ctx, record)
	if err != nil {
		c.cfg.Log.Debug("agent did not answer", "machine", record.Machine, "err", err)
		return // what is known grows old, and plan sees that
	}
	c.world.answered(record.Machine, asked, status)
}

// answered takes an agent's word as of when it was asked.
func (w *world) answered(name cluster.Machine, asked time.Time, status MachineStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m := w.machines[name]; m != nil && !asked.Before(m.statusAt) {
		m.slots, m.tails, m.accuses, m.statusAt = status.Slots, status.Tails, status.Accuses, asked
		signal(w.changed)
	}
}
