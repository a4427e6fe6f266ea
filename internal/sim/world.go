package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/simnet"
)

// Config of a World. A run is a function of it.
type Config struct {
	Seed      uint64
	Slots     int // each on a machine of its own
	MinInSync int
	LastKind  replica.Kind // of the last slot, if there are more than two
	Clients   int
	Mutate    replica.Mutation
	// Calm switches all randomness of delays off, for scenarios.
	Calm bool
	// LateRequests and LostAnswers are chances of a coordinator request while
	// faults happen.
	LateRequests, LostAnswers float64
	// FaultEvery is the mean time between two faults; 0: none.
	FaultEvery time.Duration
	// Only, if set, names the faults to draw from.
	Only []string
	// Trace, if set, receives every event as it happens.
	Trace func(string)
	watch func(traceLine)
}

// World is one store on its machines, with everything around it.
type World struct {
	cfg         Config
	rng         *rand.Rand
	loop        *simnet.Loop
	net         *simnet.Net
	coord       *Coord
	slots       []*Slot
	controllers []*controller
	check       *checker
	trace       trace
	wire        map[*byte]journal.Batch // what was sent, by its octets; for SkipTruncate

	quiet   bool // no more faults, no new operations
	faults  bool
	lastOp  OpID
	events  int
	acks    int
	old     map[*Slot]*Disk // an earlier state of a slot's disk
	clones  []*Slot         // of machines: a slot's id twice
	rewinds int
	forcing *forcing // a forced failover under way
	forced  int      // of them, begun
}

// New builds a World in which the slots exist and nobody is master yet.
func New(cfg Config) *World {
	w := &World{
		cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 1)), loop: &simnet.Loop{},
		wire: map[*byte]journal.Batch{}, old: map[*Slot]*Disk{},
	}
	w.trace.w = w
	w.net = &simnet.Net{Loop: w.loop, Delay: w.delay, Timeout: w.timeout}
	w.check = newChecker(w)
	r := cluster.StoreRecord{Store: "s01", Generation: 1, Nonce: "created"}
	for i := range cfg.Slots {
		name := string(rune('a' + i))
		s := &Slot{w: w, name: name, id: cluster.SlotID{byte(0xa0 + i)}, host: cluster.Machine("m" + name), disk: NewDisk(cluster.SlotID{byte(0xa0 + i)}), rate: 1}
		if i > 1 && i == cfg.Slots-1 {
			s.kind = cfg.LastKind
		}
		if !cfg.Calm {
			s.rate = 0.97 + 0.06*w.rng.Float64()
			s.skew = time.Duration(w.rng.Int64N(int64(time.Hour)))
		}
		w.slots = append(w.slots, s)
		r.Slots = append(r.Slots, cluster.SlotRef{Slot: s.id, Machine: s.host})
	}
	w.coord = &Coord{w: w, record: r, rev: 1, global: 1}
	w.trace.names = w.replacer()
	return w
}

// startControllers adds n controllers.
func (w *World) startControllers(n int) {
	for i := range n {
		c := &controller{w: w, name: fmt.Sprintf("ctl%d", i+1), heard: map[*Slot]report{}, cut: map[*Slot]bool{}, steps: -1}
		w.controllers = append(w.controllers, c)
		w.loop.After(time.Duration(i)*controllerEvery/2, c.run)
	}
}

// Run runs the World for d, or until an invariant fails.
func (w *World) Run(d time.Duration) error {
	limit := w.loop.Now() + d
	for len(w.check.fails) == 0 && w.loop.Step(limit) {
		w.events++
	}
	return w.Err()
}

// Err is the first violation, nil if there is none.
func (w *World) Err() error {
	if len(w.check.fails) == 0 {
		return nil
	}
	return fmt.Errorf("seed %d: %s", w.cfg.Seed, w.check.fails[0])
}

// Story runs a whole random life: faults and load, then peace, then the checks
// that hold once things have settled.
func (w *World) Story() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("seed %d: panic: %v", w.cfg.Seed, p)
			w.note("check", "!!", err.Error())
		}
	}()
	for _, s := range w.slots {
		s.open()
	}
	w.startControllers(2)
	for range w.cfg.Clients {
		c := &client{w: w}
		w.loop.After(w.think(), c.run)
	}
	w.reader()
	w.operator()
	w.faults = w.cfg.FaultEvery > 0
	if w.faults {
		w.nextFault()
	}
	if err := w.Run(40 * time.Second); err != nil {
		return err
	}
	w.heal()
	if err := w.Run(30 * time.Second); err != nil {
		return err
	}
	w.quiet = true
	if err := w.Run(25 * time.Second); err != nil {
		return err
	}
	w.check.settled()
	return w.Err()
}

// RandomConfig draws the shape of a run from its seed.
func RandomConfig(seed uint64) Config {
	rng := rand.New(rand.NewPCG(seed, 2))
	cfg := Config{
		Seed: seed, Slots: []int{1, 2, 2, 2, 3, 3, 3, 4}[rng.IntN(8)], MinInSync: 1, Clients: 1 + rng.IntN(4),
		FaultEvery:   []time.Duration{300, 700, 1500, 4000}[rng.IntN(4)] * time.Millisecond,
		LateRequests: 0.1, LostAnswers: 0.15,
	}
	if cfg.Slots > 1 && rng.IntN(4) == 0 {
		cfg.MinInSync = 2
	}
	switch rng.IntN(8) {
	case 0, 1:
		cfg.LastKind = replica.LogOnly
	case 2:
		cfg.LastKind = replica.Async
	}
	return cfg
}

func (w *World) chance(p float64) bool { return !w.cfg.Calm && w.rng.Float64() < p }

func (w *World) faulty() bool { return w.faults }

// delay is one way through the network.
func (w *World) delay() time.Duration {
	if w.cfg.Calm {
		return time.Millisecond
	}
	d := 200*time.Microsecond + time.Duration(w.rng.Int64N(int64(2*time.Millisecond)))
	if w.rng.IntN(50) == 0 {
		d += time.Duration(w.rng.Int64N(int64(150 * time.Millisecond)))
	}
	return d
}

// diskDelay is one sync.
func (w *World) diskDelay() time.Duration {
	if w.cfg.Calm {
		return 500 * time.Microsecond
	}
	d := 100*time.Microsecond + time.Duration(w.rng.Int64N(int64(time.Millisecond)))
	if w.rng.IntN(40) == 0 {
		d += time.Duration(w.rng.Int64N(int64(300 * time.Millisecond)))
	}
	return d
}

// timeout is how long a peer's silence goes unnoticed.
func (w *World) timeout() time.Duration {
	if w.cfg.Calm {
		return 2 * time.Second
	}
	return time.Second + time.Duration(w.rng.Int64N(int64(3*time.Second)))
}

// think is a client's pause.
func (w *World) think() time.Duration {
	return 10*time.Millisecond + time.Duration(w.rng.Int64N(int64(60*time.Millisecond)))
}

// between draws a duration.
func (w *World) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)))
}

// all are the slots and the clones of their machines.
func (w *World) all() []*Slot { return slices.Concat(w.slots, w.clones) }

func (w *World) slot(name string) *Slot {
	for _, s := range w.all() {
		if s.name == name {
			return s
		}
	}
	panic("sim: no slot " + name)
}

func (w *World) slotByID(id cluster.SlotID) *Slot {
	for _, s := range w.slots {
		if s.id == id {
			return s
		}
	}
	return nil
}

func (w *World) nameOf(id cluster.SlotID) string {
	if s := w.slotByID(id); s != nil {
		return s.name
	}
	return id.String()
}

// master is the slot the record names, if that incarnation runs.
func (w *World) master() *Slot {
	s := w.slotByID(w.coord.record.Master)
	if s == nil || s.core == nil || s.incarnation != w.coord.record.Incarnation || s.core.Epoch() != w.coord.record.Epoch {
		return nil
	}
	return s
}

func (w *World) replacer() *strings.Replacer {
	var pairs []string
	for _, s := range w.slots {
		pairs = append(pairs, s.id.String(), s.name)
	}
	return strings.NewReplacer(pairs...)
}

// summary is one line a slot.
func (w *World) summary() string {
	var b strings.Builder
	r := w.coord.record
	fmt.Fprintf(&b, "record rev %d e%d master %s set", w.coord.rev, r.Epoch, w.nameOf(r.Master))
	for _, id := range r.InSync {
		b.WriteString(" " + w.nameOf(id))
	}
	for _, s := range w.slots {
		if s.core == nil {
			fmt.Fprintf(&b, "\n  %s down %s", s.name, s.problem)
			continue
		}
		fmt.Fprintf(&b, "\n  %s %v", s.name, s.core.State())
	}
	return b.String()
}
