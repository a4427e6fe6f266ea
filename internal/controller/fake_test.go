package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/memory"
	"github.com/tandemail/tandemail/internal/plan"
)

type state int

const (
	up     state = iota
	killed       // the host refuses connections
	silent       // nobody answers
)

// site is a cluster of fakes in virtual time: machines that answer or do not,
// slots that obey by compare-and-swap as real ones do.
type site struct {
	t      *testing.T
	ctx    context.Context
	server *memory.Server
	admin  *memory.Client
	ttl    time.Duration // of the machines' leases

	mu       sync.Mutex
	machines map[cluster.Machine]*host
	asked    []ask
	// before and after, if not nil, run around what an agent does.
	before, after func(a plan.Action)
	stuck         chan struct{} // if not nil, probes hang until it is closed, whatever their context says
}

type host struct {
	state       state
	client      *memory.Client
	incarnation cluster.Incarnation
	controller  *Controller
	stop        func()
}

type ask struct {
	at time.Time
	plan.Action
}

// run makes a site of n machines and its stores, and settles it.
func run(t *testing.T, n int, stores []string, test func(s *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &site{t: t, ctx: ctx, server: memory.NewServer(memory.Config{}), ttl: 3 * time.Second, machines: map[cluster.Machine]*host{}}
		s.admin = s.server.Client()
		defer func() {
			for _, h := range s.machines {
				h.stop()
			}
			cancel()
			synctest.Wait()
		}()
		for i := range n {
			name := cluster.Machine(fmt.Sprint("m", i+1))
			s.machines[name] = &host{state: killed, client: s.server.Client(), stop: func() {}}
		}
		for name := range s.machines {
			s.put(coord.MachineKey(name), coord.Encode(coord.MachineRecord{Machine: name, Storage: true, Control: true}))
			s.start(name)
		}
		for _, spec := range stores { // "s1 m1 m2"
			var name, a, b string
			fmt.Sscan(spec, &name, &a, &b)
			r := cluster.StoreRecord{Store: cluster.Store(name)}
			for _, m := range []string{a, b} {
				r.Slots = append(r.Slots, cluster.SlotRef{Slot: slotID(name, m), Machine: cluster.Machine(m)})
			}
			s.put(coord.StoreKey(r.Store), r.Encode())
		}
		go s.watch()
		s.pass(5 * time.Second)
		for _, spec := range stores {
			var name string
			fmt.Sscan(spec, &name)
			s.join(name)
		}
		s.pass(5 * time.Second)
		s.asked = nil
		test(s)
	})
}

func slotID(store, m string) cluster.SlotID {
	var id cluster.SlotID
	copy(id[:], store+"@"+m)
	return id
}

func (s *site) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (s *site) put(key string, value []byte) {
	s.t.Helper()
	if _, _, err := s.admin.Txn(s.ctx, coord.Txn{Then: []coord.Op{coord.Put(key, value)}}); err != nil {
		s.t.Fatal(err)
	}
}

// start runs a machine: its lease and its controller.
func (s *site) start(name cluster.Machine) {
	s.mu.Lock()
	h := s.machines[name]
	h.state = up
	h.incarnation++
	s.mu.Unlock()
	h.client.SetFaults(memory.Faults{})
	ctx, cancel := context.WithCancel(s.ctx)
	lease, err := h.client.Lease(ctx, s.ttl)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, _, err := lease.Txn(ctx, coord.Txn{Then: []coord.Op{coord.Put(coord.LiveKey(name), nil)}}); err != nil {
		s.t.Fatal(err)
	}
	c, err := New(Config{Machine: name, Coord: h.client, Eyes: eyes{s, name}, Agents: agents{s}})
	if err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx)
	}()
	h.controller = c
	h.stop = func() {
		h.client.SetFaults(memory.Faults{Down: errors.New("dead")})
		cancel()
		<-done
		_ = lease.Close(s.ctx) // cannot be reached: it lives on for its TTL
	}
}

// kill ends a machine as kill -9 or the power does; its lease lives on.
func (s *site) kill(name cluster.Machine, how state) {
	s.mu.Lock()
	s.machines[name].state = how
	s.mu.Unlock()
	s.machines[name].stop()
	s.machines[name].stop = func() {}
}

func (s *site) leader() cluster.Machine {
	s.t.Helper()
	for _, name := range []cluster.Machine{"m1", "m2", "m3", "m4"} {
		if h := s.machines[name]; h != nil && h.state == up && h.controller.Report().Leading {
			return name
		}
	}
	s.t.Fatal("nobody leads")
	return ""
}

func (s *site) stores() []cluster.StoreRecord {
	kvs, _, err := s.admin.List(s.ctx, coord.StoresPrefix)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []cluster.StoreRecord
	for _, kv := range kvs {
		r, err := cluster.DecodeStoreRecord(kv.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func (s *site) store(name string) (cluster.StoreRecord, cluster.Rev) {
	value, rev, err := s.admin.Get(s.ctx, coord.StoreKey(cluster.Store(name)))
	if err != nil {
		s.t.Error(err)
	}
	r, err := cluster.DecodeStoreRecord(value)
	if err != nil {
		s.t.Error(err)
	}
	return r, rev
}

func (s *site) master(name string) cluster.Machine {
	r, _ := s.store(name)
	return r.MachineOf(r.Master)
}

// join puts every slot of a live machine into the set, as the master would.
func (s *site) join(name string) {
	s.swap(name, func(r *cluster.StoreRecord) error {
		for _, ref := range r.Slots {
			if s.is(ref.Machine, up) && !r.IsInSync(ref.Slot) {
				r.InSync = append(r.InSync, ref.Slot)
			}
		}
		return nil
	})
}

func (s *site) swap(name string, change func(*cluster.StoreRecord) error) error {
	r, rev := s.store(name)
	if err := change(&r); err != nil {
		return err
	}
	key := coord.StoreKey(r.Store)
	ok, _, err := s.admin.Txn(s.ctx, coord.Txn{If: []coord.Compare{{Key: key, Rev: rev}}, Then: []coord.Op{coord.Put(key, r.Encode())}})
	if err == nil && !ok {
		err = errors.New("the record changed")
	}
	return err
}

func (s *site) is(m cluster.Machine, st state) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machines[m].state == st
}

// watch fails the test at any step of a record that is not legal.
func (s *site) watch() {
	last := map[string]cluster.StoreRecord{}
	for changes, err := range s.server.Client().Watch(s.ctx, coord.StoresPrefix, s.server.Rev()) {
		if err != nil {
			return
		}
		for _, c := range changes {
			next, err := cluster.DecodeStoreRecord(c.Value)
			if err != nil {
				s.t.Error(err)
				continue
			}
			if prev, ok := last[c.Key]; ok {
				if err := prev.LegalStep(next); err != nil {
					s.t.Error(err)
				}
			}
			last[c.Key] = next
		}
	}
}

func (s *site) answers(ctx context.Context, from, to cluster.Machine) error {
	s.mu.Lock()
	st, stuck := s.machines[to].state, s.stuck
	s.mu.Unlock()
	if stuck != nil {
		<-stuck
		return fmt.Errorf("dial %s: %w", to, syscall.ECONNREFUSED)
	}
	switch st {
	case killed:
		return fmt.Errorf("dial %s from %s: %w", to, from, syscall.ECONNREFUSED)
	case silent:
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// eyes see from one machine.
type eyes struct {
	*site
	from cluster.Machine
}

func (e eyes) Probe(ctx context.Context, m coord.MachineRecord) error {
	return e.answers(ctx, e.from, m.Machine)
}

func (e eyes) Status(ctx context.Context, m coord.MachineRecord) (MachineStatus, error) {
	e.mu.Lock()
	st := e.machines[m.Machine].state
	incarnation := e.machines[m.Machine].incarnation
	e.mu.Unlock()
	if st != up {
		<-ctx.Done()
		return MachineStatus{}, ctx.Err()
	}
	var out MachineStatus
	for _, r := range e.stores() {
		for _, ref := range r.Slots {
			if ref.Machine != m.Machine {
				continue
			}
			status := plan.SlotStatus{Slot: ref.Slot, Store: r.Store, Role: "replica", Incarnation: incarnation, Epoch: r.Epoch, Durable: 100}
			if r.Master == ref.Slot && r.Incarnation == incarnation {
				status.Role = "master"
			}
			for _, other := range r.Slots {
				if other.Slot != ref.Slot && e.is(other.Machine, up) {
					status.Reaches = append(status.Reaches, other.Slot)
				}
			}
			out.Slots = append(out.Slots, status)
		}
	}
	return out, nil
}

// agents obey as slots do.
type agents struct{ *site }

func (a agents) Nominate(ctx context.Context, m coord.MachineRecord, act plan.Action) error {
	return a.obey(ctx, m, act, func(r *cluster.StoreRecord) error {
		if r.Epoch != 0 && !r.IsInSync(act.Slot) {
			return errors.New("not in the in-sync set")
		}
		if r.Master != act.Slot {
			r.InSync = slices.DeleteFunc(r.InSync, func(id cluster.SlotID) bool { return id == r.Master })
		}
		if len(r.InSync) == 0 {
			r.InSync = []cluster.SlotID{act.Slot}
		}
		return a.appoint(r, act.Slot)
	})
}

func (a agents) Switchover(ctx context.Context, m coord.MachineRecord, act plan.Action) error {
	return a.obey(ctx, m, act, func(r *cluster.StoreRecord) error {
		if r.MachineOf(r.Master) != m.Machine || !r.IsInSync(act.Slot) {
			return errors.New("not the master, or the target is not in sync")
		}
		return a.appoint(r, act.Slot)
	})
}

func (a agents) Reseed(context.Context, coord.MachineRecord, plan.Action) error { return nil }

func (a agents) obey(ctx context.Context, m coord.MachineRecord, act plan.Action, change func(*cluster.StoreRecord) error) error {
	if err := a.answers(ctx, "", m.Machine); err != nil {
		return err
	}
	a.mu.Lock()
	a.asked = append(a.asked, ask{time.Now(), act})
	before, after := a.before, a.after
	a.mu.Unlock()
	if before != nil {
		before(act)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := a.swap(string(act.Store), func(r *cluster.StoreRecord) error {
		if r.Epoch != act.Epoch {
			return fmt.Errorf("epoch %d has begun", r.Epoch)
		}
		return change(r)
	})
	if after != nil {
		after(act)
	}
	return err
}

func (a agents) appoint(r *cluster.StoreRecord, slot cluster.SlotID) error {
	m := r.MachineOf(slot)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.machines[m].state != up {
		return fmt.Errorf("machine %s is down", m)
	}
	r.Epoch++
	r.Master, r.Incarnation = slot, a.machines[m].incarnation
	return nil
}
