package campaign

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandemail/tandemail/e2e/ledger"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/slot"
)

// Report is what came of a run.
type Report struct {
	Seed     uint64         `json:"seed"`
	Result   string         `json:"result"` // "ok", or what is wrong
	Machines int            `json:"machines"`
	Faults   []string       `json:"faults"`
	Acked    int            `json:"acked"`   // changes
	Refused  int            `json:"refused"` // deliveries, for lack of room
	Unknown  int            `json:"unknown"` // deliveries whose sender gave up
	Met      int            `json:"met"`     // accesses to disks that met trouble
	Replaced int            `json:"replaced"`
	Reseeded int            `json:"reseeded"` // since octets of the journal were damaged
	Repaired int            `json:"repaired"` // bodies, by their partner
	Seconds  int            `json:"seconds"`  // of virtual time
	Msec     int64          `json:"msec"`     // of real time
	Kinds    map[string]int `json:"kinds"`    // of acknowledged changes
}

// OK is Report.Result of a run that passed.
const OK = "ok"

const (
	rounds    = 2
	levelTime = 4 * time.Minute
	// scrubTime is when a scrub has begun and ended after whatever was done before.
	scrubTime = 5 * time.Second
	// patience is how long the operator lets a slot help itself by becoming a copy of the
	// master, and indexPatience by opening its index again, which it does every minute.
	patience      = 20 * time.Second
	indexPatience = 90 * time.Second
)

// run is one run.
type run struct {
	seed uint64
	ctx  context.Context
	w    *world
	rng  *rand.Rand
	rec  ledger.Recorder
	out  Report
	gone map[cluster.SlotID]bool // their disks are lost, as the operator knows
	ill  map[cluster.SlotID]time.Time
}

// RealTime reports whether the run of a seed has to be done in real time: it draws also
// from the troubles of an index after which Pebble waits for ever under its locks. Virtual
// time would stop with it.
func RealTime(seed uint64) bool { return seed%50 == 0 }

// Run does one run, in a synctest bubble unless RealTime says otherwise. Keep is called with the world's disks if it
// failed. What a failed index leaves behind never ends: the caller ends the process.
func Run(seed uint64, log *slog.Logger, only []string, keep func(machine string, fs *FS, history []ledger.Event)) Report {
	r := &run{seed: seed, ctx: context.Background(), rng: rand.New(rand.NewPCG(seed, 0)), gone: map[cluster.SlotID]bool{}, ill: map[cluster.SlotID]time.Time{}}
	r.out = Report{Seed: seed, Machines: 2 + r.rng.IntN(4)/3, Result: OK}
	begun := time.Now()
	if err := r.do(log, only); err != nil {
		r.out.Result = err.Error()
		for _, m := range r.w.machines {
			keep(string(m.name), m.fs, r.rec.History())
		}
	}
	r.count()
	r.out.Seconds = int(time.Since(begun) / time.Second)
	return r.out
}

func (r *run) do(log *slog.Logger, only []string) (err error) {
	if r.w, err = newWorld(r.seed, r.out.Machines, !RealTime(r.seed), log); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	var governing sync.WaitGroup
	governing.Go(func() { r.w.govern(ctx) })
	c, err := r.clients()
	if err != nil {
		return err
	}
	for range rounds {
		if err = r.round(log, only); err != nil {
			break
		}
	}
	err = errors.Join(err, c.end(), r.failed(c))
	if err == nil {
		err = r.level(true)
	}
	if err == nil {
		err = r.readBack()
	}
	if err == nil {
		err = judge(r.rec.History())
	}
	return err
}

func (r *run) failed(c *clients) error {
	if err := c.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// round lets faults happen, ends them, and has everything come level again.
func (r *run) round(log *slog.Logger, only []string) error {
	r.wait(time.Second, 3*time.Second)
	for i, f := range r.draw(only) {
		m := r.w.machines[r.rng.IntN(len(r.w.machines))]
		if i > 0 && f.after != nil {
			m = f.after
		}
		log.Info("fault", "text", f.Name, "machine", m.name)
		r.out.Faults = append(r.out.Faults, f.Name)
		f.do(r, m)
		if f.Lasting && r.rng.IntN(2) == 0 {
			log.Info("fault", "text", "power-loss", "machine", m.name)
			r.out.Faults = append(r.out.Faults, "power-loss")
			r.reboot(m, 50*r.rng.IntN(2))
		}
	}
	r.wait(0, 4*time.Second)
	log.Info("faults end")
	for _, m := range r.w.machines {
		r.out.Met += m.fs.hits()
		m.fs.heal()
		m.fs.used.Store(20)
		if s, _ := m.running(); s == nil {
			m.start()
		} else if m.fs.isOff() { // a write was torn at the end
			m.crash(0)
			m.start()
		}
	}
	_ = pause(r.ctx, scrubTime)
	return r.level(false)
}

type drawn struct {
	Fault
	after *machine
}

// draw chooses the faults of a round: one that lasts, or up to three others.
func (r *run) draw(only []string) (list []drawn) {
	var lasting, passing []Fault
	for _, f := range Faults() {
		switch {
		case len(only) > 0 && !slices.Contains(only, f.Name):
		case f.Lasting:
			lasting = append(lasting, f)
		default:
			passing = append(passing, f)
		}
	}
	if len(passing) == 0 || len(lasting) > 0 && r.rng.IntN(5) < 2 {
		return []drawn{{Fault: lasting[r.rng.IntN(len(lasting))]}}
	}
	m := r.w.machines[r.rng.IntN(len(r.w.machines))]
	for range 1 + r.rng.IntN(3) {
		d := drawn{Fault: passing[r.rng.IntN(len(passing))]}
		if r.rng.IntN(2) == 0 {
			d.after = m // one machine has it all
		}
		list = append(list, d)
	}
	return list
}

// level waits until the store is whole, and does meanwhile what its status asks an
// operator for. At the end, when nobody writes, the copies' digests are compared too.
func (r *run) level(digests bool) error {
	var why string
	for end := time.Now().Add(levelTime); time.Now().Before(end); {
		if why = r.unlevel(digests); why == "" {
			return nil
		}
		if err := r.operate(); err != nil {
			return err
		}
		_ = pause(r.ctx, 200*time.Millisecond)
	}
	return fmt.Errorf("not level within %v: %s", levelTime, why)
}

// unlevel says what is missing.
func (r *run) unlevel(digests bool) string {
	rec, _, _, _ := r.w.Read(r.ctx) // no error without an end of ctx
	var first *slot.Digest
	for _, m := range r.w.machines {
		s, _ := m.running()
		if s == nil {
			return string(m.name) + " is off"
		}
		st := s.Status()
		switch lost := slices.IndexFunc(st.Damaged, func(d slot.Damaged) bool { return d.Body != 0 || d.Pack == "" }); {
		case st.State != slot.StateOK:
			return fmt.Sprintf("%s is %s: %s", m.name, st.State, st.Reason)
		case !rec.IsInSync(m.ID()):
			return fmt.Sprintf("%s is not in sync", m.name)
		case lost >= 0:
			return fmt.Sprintf("%s lacks %+v", m.name, st.Damaged[lost])
		}
		if !digests {
			continue
		}
		d, err := s.Digest(r.ctx, 0)
		switch {
		case err != nil:
			return fmt.Sprintf("digest of %s: %v", m.name, err)
		case first == nil:
			first = &d
		case d != *first:
			return fmt.Sprintf("digest of %s is %+v, not %+v", m.name, d, *first)
		}
	}
	if r.w.master() == nil {
		return "no master"
	}
	return ""
}

// operate does one thing that a status asks for: a slot that does not help itself gets
// a successor.
func (r *run) operate() error {
	rec, _, _, _ := r.w.Read(r.ctx)
	for _, m := range r.w.machines {
		id := m.ID()
		lost, wait := r.lost(m, rec)
		if !lost {
			delete(r.ill, id)
			continue
		}
		if r.ill[id].IsZero() {
			r.ill[id] = time.Now()
		}
		if time.Since(r.ill[id]) < wait || len(rec.InSync) < len(rec.Slots)-1 {
			continue
		}
		return r.succeed(m, rec)
	}
	return r.reseed(rec)
}

// reseed has a copy that lacks octets of its journal made anew, since nobody gives it
// those. Of the master's another becomes the master first.
func (r *run) reseed(rec cluster.StoreRecord) error {
	for _, m := range r.w.machines {
		st, ok := m.status()
		if !ok || len(rec.InSync) < len(rec.Slots) || !slices.ContainsFunc(st.Damaged, func(d slot.Damaged) bool { return d.Body == 0 && d.Pack == "" }) {
			continue
		}
		s, _ := m.running()
		if s == nil {
			continue
		}
		if rec.Master != m.ID() {
			if s.Reseed() == nil {
				r.out.Reseeded++
			}
			continue
		}
		for _, other := range rec.InSync {
			if other != rec.Master {
				_ = s.SwitchTo(r.ctx, other, 5*time.Second) // it is tried again
				return nil
			}
		}
	}
	return nil
}

// lost reports whether the slot's status says that its data is lost, and how long that
// has to stay so.
func (r *run) lost(m *machine, rec cluster.StoreRecord) (bool, time.Duration) {
	st, ok := m.status()
	ref, _ := rec.Ref(m.ID())
	switch {
	case r.gone[m.ID()]:
		return true, 0
	case !ok:
		return false, 0
	}
	if st.State == slot.StateFailed && strings.Contains(st.Reason, "index failed") {
		return true, indexPatience
	}
	return st.State == slot.StateFailed || st.Counter < ref.Counter, patience
}

// succeed takes the slot out of the set and gives its machine a new one.
func (r *run) succeed(m *machine, rec cluster.StoreRecord) error {
	id := m.ID()
	if st, ok := m.status(); ok {
		r.w.log.Info("the operator gives the slot up", "machine", m.name, "state", st.State, "reason", st.Reason, "text", fmt.Sprint(st.Damaged))
	}
	r.gone[id] = true
	if rec.IsInSync(id) {
		if rec.Master == id {
			s, _ := m.running()
			for _, other := range rec.InSync {
				if other != id && s != nil {
					_ = s.SwitchTo(r.ctx, other, 5*time.Second) // else the controller's turn
				}
			}
		}
		m.stop()
		_ = pause(r.ctx, 2*time.Second)
	}
	done, err := r.w.replace(m)
	if done {
		r.out.Replaced++
	}
	return err
}

// readBack makes every slot the master once and reads everything there.
func (r *run) readBack() error {
	for _, m := range r.w.machines {
		var err error
		for end := time.Now().Add(time.Minute); time.Now().Before(end); _ = pause(r.ctx, 200*time.Millisecond) {
			s, _ := m.running()
			if err = r.lead(m); err == nil {
				err = lookAt(r.ctx, s, &r.rec)
			}
			if err == nil {
				r.out.Repaired += int(s.Stats().Packs.Repaired)
				break
			}
		}
		if err != nil {
			return fmt.Errorf("read back on %s: %w", m.name, err)
		}
	}
	return nil
}

func (r *run) lead(m *machine) error {
	s := r.w.master()
	if s == nil {
		return errors.New("no master")
	}
	if st, ok := m.status(); ok && st.Serving {
		return nil
	}
	if err := s.SwitchTo(r.ctx, m.ID(), 5*time.Second); err != nil {
		return err
	}
	return errors.New("switched a moment ago")
}

// judge compares the history with itself.
func judge(history []ledger.Event) error {
	found := ledger.Check(history)
	if len(found) == 0 {
		return nil
	}
	var text []string
	for _, v := range found[:min(len(found), 5)] {
		text = append(text, v.String())
	}
	return fmt.Errorf("%d violations: %s", len(found), strings.Join(text, "; "))
}

func (r *run) count() {
	s := ledger.Summarize(r.rec.History())
	r.out.Kinds = s.Acked
	for _, k := range slices.Sorted(maps.Keys(s.Acked)) {
		r.out.Acked += s.Acked[k]
	}
	r.out.Refused, r.out.Unknown = s.Deliveries[ledger.Refused], s.Deliveries[ledger.Unknown]
}
