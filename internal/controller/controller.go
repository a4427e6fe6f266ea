package controller

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/plan"
)

// MachineStatus is an agent's answer.
type MachineStatus struct {
	Slots []plan.SlotStatus
	Tails []plan.Tail // that are not brought back
	// Accuses are machines that something on that machine cannot reach now: its
	// front end's dials, its own controller's probe (Suspects).
	Accuses []cluster.Machine
}

// Eyes are how a controller sees machines. Both return within the context's
// deadline and may be called concurrently.
type Eyes interface {
	// Probe says whether the machine's process answers; it must cost next to
	// nothing. An error that wraps ECONNREFUSED or ECONNRESET says that its host does.
	Probe(ctx context.Context, m coord.MachineRecord) error
	// Status asks the machine's agent; it never blocks on a sick disk.
	Status(ctx context.Context, m coord.MachineRecord) (MachineStatus, error)
}

// Agents do what is asked of machine m, or refuse with an error. Every call may
// be repeated; one whose store is at another epoch than a.Epoch must be refused.
type Agents interface {
	// Nominate asks a.Slot to make itself master; nil means that it will try.
	Nominate(ctx context.Context, m coord.MachineRecord, a plan.Action) error
	// Switchover asks the present master, on m, to hand over to a.Slot, and
	// returns when it has or gave up.
	Switchover(ctx context.Context, m coord.MachineRecord, a plan.Action) error
	// Reseed asks a.Slot to fill itself; nil means that it has begun.
	Reseed(ctx context.Context, m coord.MachineRecord, a plan.Action) error
}

// Config of a Controller.
type Config struct {
	Machine cluster.Machine // whose controller this is
	Coord   coord.Coord
	Eyes    Eyes
	Agents  Agents
	Timing  Timing
	Policy  plan.Policy // its RefusedAfter, SilentAfter and StatusFresh are Timing's
	Now     func() time.Time
	Rand    io.Reader
	Log     *slog.Logger
}

// Controller is one candidate, and the controller while it is elected.
type Controller struct {
	cfg   Config
	world *world

	mu     sync.Mutex
	report Report
	acted  map[Acted]int64
}

// Report is what a controller knows. The problems of one that is not leading are
// what it would say, without the word of the agents: ask the leader.
type Report struct {
	Leading  bool
	Since    time.Time // of leading
	At       time.Time // of the plan; zero: none yet
	Problems []plan.Problem
	// Actions that are due now; in a dry run, or paused, they stay here.
	Actions []plan.Action
	// Seen is what each machine's agent said last, as far as this term knows.
	Seen []Seen
}

// Seen is the last answer of a machine's agent.
type Seen struct {
	Machine cluster.Machine
	At      time.Time
	Slots   []plan.SlotStatus
}

// New checks cfg and starts nothing.
func New(cfg Config) (*Controller, error) {
	if err := cfg.Timing.Check(); err != nil {
		return nil, err
	}
	cfg.Timing = cfg.Timing.withDefaults()
	cfg.Policy.RefusedAfter, cfg.Policy.SilentAfter = cfg.Timing.RefusedAfter, cfg.Timing.SilentAfter
	cfg.Policy.StatusFresh = cfg.Timing.StatusFresh
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Controller{cfg: cfg, world: newWorld(cfg.Now), acted: map[Acted]int64{}}, nil
}

// Run watches the cluster, stands for election, and acts while elected, until ctx
// ends, whose error it returns.
func (c *Controller) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for prefix, apply := range c.world.mirrors() {
		wg.Go(func() { _ = coord.Follow(ctx, c.cfg.Coord, coord.Following{Prefix: prefix}, apply) })
	}
	wg.Go(func() { c.probeAll(ctx) })
	return coord.Elect(ctx, c.cfg.Coord, coord.Election{
		Key: coord.ControllerKey, Machine: c.cfg.Machine, TTL: c.cfg.Timing.ElectionTTL,
		Poll: c.cfg.Timing.ProbeEvery, Suspect: c.suspects, Now: c.cfg.Now, Rand: c.cfg.Rand,
	}, c.lead)
}

// Report returns the newest.
func (c *Controller) Report() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.report
}

// Suspects are the machines that this controller's probe has not reached for long
// enough. The agent of this machine tells them to whoever leads.
func (c *Controller) Suspects() []cluster.Machine {
	return c.world.suspects(c.cfg.Now(), c.cfg.Timing)
}

func (c *Controller) suspects(m cluster.Machine) bool {
	for _, s := range c.Suspects() {
		if s == m {
			return true
		}
	}
	return false
}

// MayStop answers whether a machine may be stopped, from what this controller
// knows; only the leader knows how the slots are.
func (c *Controller) MayStop(m cluster.Machine) (plan.Answer, []string, error) {
	if !c.Report().Leading {
		return plan.No, nil, fmt.Errorf("controller on %s: %w", c.cfg.Machine, ErrNotLeading)
	}
	now := c.cfg.Now()
	answer, why := plan.MayStop(c.world.snapshot(now, c.cfg.Timing), c.cfg.Policy, now, m)
	return answer, why, nil
}
