package controller

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/memory"
	"github.com/tandemail/tandemail/internal/plan"
)

var threeStores = []string{"s1 m1 m2", "s2 m2 m3", "s3 m3 m1"}

// problems are the leader's codes.
func (s *site) problems() []plan.Code {
	var out []plan.Code
	for _, p := range s.machines[s.leader()].controller.Report().Problems {
		out = append(out, p.Code)
	}
	return out
}

// other is a machine that does not lead.
func (s *site) other() cluster.Machine {
	leader := s.leader()
	for _, m := range []cluster.Machine{"m1", "m2", "m3"} {
		if m != leader {
			return m
		}
	}
	return ""
}

// mastersOn counts.
func (s *site) mastersOn(m cluster.Machine) (n int) {
	for _, r := range s.stores() {
		if r.MachineOf(r.Master) == m {
			n++
		}
	}
	return n
}

// untilMastersLeave returns how long it took until m is nobody's master.
func (s *site) untilMastersLeave(m cluster.Machine, limit time.Duration) time.Duration {
	s.t.Helper()
	start := time.Now()
	for s.mastersOn(m) > 0 {
		if time.Since(start) > limit {
			s.t.Fatalf("%s is still a master after %v: %v", m, limit, s.problems())
		}
		<-time.After(10 * time.Millisecond)
	}
	return time.Since(start)
}

func TestNewStoresGetTheirPreferredMasters(t *testing.T) {
	run(t, 3, threeStores, func(s *site) {
		for name, want := range map[string]cluster.Machine{"s1": "m1", "s2": "m2", "s3": "m3"} {
			if got := s.master(name); got != want {
				t.Errorf("%s: master on %s, want %s", name, got, want)
			}
		}
		if p := s.problems(); len(p) != 0 {
			t.Errorf("a healthy site has problems: %v", p)
		}
	})
}

func TestKilledProcessIsReplacedWithinASecond(t *testing.T) {
	run(t, 3, threeStores, func(s *site) {
		dead := s.other()
		s.kill(dead, killed)
		if d := s.untilMastersLeave(dead, time.Minute); d > (Timing{}).withDefaults().worstKill()+50*time.Millisecond {
			t.Fatalf("after %v", d)
		}
	})
}

func TestDeadMachineIsReplacedWithinTwoSeconds(t *testing.T) {
	run(t, 3, threeStores, func(s *site) {
		dead := s.other()
		s.kill(dead, silent)
		if d := s.untilMastersLeave(dead, time.Minute); d > (Timing{}).withDefaults().worstSilence()+50*time.Millisecond {
			t.Fatalf("after %v", d)
		}
	})
}

// TestControllersOwnMachineIsReplacedInTime: the leader dies with its machine,
// and every lease outlives it by 6 s, as when the coordinator's leader died too.
func TestControllersOwnMachineIsReplacedInTime(t *testing.T) {
	run(t, 3, threeStores, func(s *site) {
		leader := s.leader()
		s.server.Stretch(6 * time.Second)
		s.kill(leader, killed)
		if d := s.untilMastersLeave(leader, time.Minute); d > 2*time.Second {
			t.Fatalf("after %v", d)
		}
		if s.leader() == leader {
			t.Fatal("the dead leads")
		}
	})
}

func TestWhenManyDieAtOnceNothingHappens(t *testing.T) {
	run(t, 4, []string{"s1 m1 m2", "s2 m2 m3", "s3 m3 m4", "s4 m4 m1"}, func(s *site) {
		leader := s.leader()
		for name := range s.machines {
			if name != leader {
				s.kill(name, silent)
			}
		}
		s.pass(2 * time.Minute)
		if len(s.asked) != 0 {
			t.Fatalf("asked: %v", s.asked)
		}
		if p := s.problems(); !slices.Contains(p, plan.ManyDead) {
			t.Fatalf("nobody says why: %v", p)
		}
	})
}

// TestFlappingMachineIsNotPromotedBackAndForth: it loses its masters once, and
// gets them back once, when it has been well for a while.
func TestFlappingMachineIsNotPromotedBackAndForth(t *testing.T) {
	run(t, 3, threeStores, func(s *site) {
		flapping := s.other()
		var mine string
		for _, r := range s.stores() {
			if r.MachineOf(r.Master) == flapping {
				mine = string(r.Store)
			}
		}
		before, _ := s.store(mine)
		for range 30 {
			s.kill(flapping, killed)
			s.pass(5 * time.Second)
			s.start(flapping)
			s.pass(time.Second)
			s.join(mine)
			s.pass(4 * time.Second)
		}
		if after, _ := s.store(mine); after.Epoch != before.Epoch+1 || after.MachineOf(after.Master) == flapping {
			t.Fatalf("epoch rose by %d, master on %s", after.Epoch-before.Epoch, after.MachineOf(after.Master))
		}
		s.pass(15 * time.Minute)
		if end, _ := s.store(mine); end.Epoch != before.Epoch+2 || end.MachineOf(end.Master) != flapping {
			t.Fatalf("in the end epoch rose by %d, master on %s", end.Epoch-before.Epoch, end.MachineOf(end.Master))
		}
	})
}

func TestPauseAndDryRunShowAndDoNothing(t *testing.T) {
	for name, settings := range map[string]coord.Settings{
		"paused": {Paused: true, PausedBy: "root", PausedReason: "upgrade"}, "dry run": {DryRun: true},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, 3, threeStores, func(s *site) {
				s.put(coord.SettingsKey, coord.Encode(settings))
				dead := s.other()
				s.kill(dead, killed)
				s.pass(time.Minute)
				if len(s.asked) != 0 {
					t.Fatalf("asked: %v", s.asked)
				}
				r := s.machines[s.leader()].controller.Report()
				if !slices.Contains(s.problems(), plan.NoMaster) || settings.DryRun == (len(r.Actions) == 0) {
					t.Fatalf("report: %+v", r)
				}
				s.put(coord.SettingsKey, coord.Encode(coord.Settings{}))
				if d := s.untilMastersLeave(dead, time.Minute); d > 100*time.Millisecond {
					t.Fatalf("after %v", d)
				}
			})
		})
	}
}

func TestDrainMovesEveryMasterAndUndrainBringsThemBack(t *testing.T) {
	run(t, 3, append([]string{"s4 m1 m3", "s5 m1 m2", "s6 m1 m3", "s7 m1 m2"}, threeStores...), func(s *site) {
		s.pass(11 * time.Minute)
		record := coord.MachineRecord{Machine: "m1", Storage: true, Control: true, Draining: true, DrainReason: "disk"}
		s.put(coord.MachineKey("m1"), coord.Encode(record))
		s.pass(time.Second)
		if n := s.mastersOn("m1"); n != 0 {
			t.Fatalf("%d masters left: %v", n, s.problems())
		}
		answer, why, err := s.machines[s.leader()].controller.MayStop("m1")
		if answer != plan.Yes || err != nil {
			t.Fatalf("may not stop: %v %v %v", answer, why, err)
		}
		record.Draining = false
		s.put(coord.MachineKey("m1"), coord.Encode(record))
		s.pass(time.Second)
		if n := s.mastersOn("m1"); n != 5 {
			t.Fatalf("%d masters are back", n)
		}
		kvs, _, err := s.admin.List(s.ctx, coord.HistoryPrefix)
		kinds := map[string]int{}
		for _, kv := range kvs {
			e, err := coord.Decode[coord.HistoryEntry](kv)
			if err != nil || e.Error != "" {
				t.Errorf("history: %+v, %v", e, err)
			}
			kinds[e.Kind]++
		}
		if err != nil || kinds["drain"] != 5 || kinds["return"] != 5 || kinds["nominate"] != 7 {
			t.Fatalf("history has %v, %v", kinds, err)
		}
		want := map[Acted]int64{{Kind: plan.Nominate}: 7, {Kind: plan.Drain}: 5, {Kind: plan.Return}: 5}
		if got := s.machines[s.leader()].controller.Actions(); !maps.Equal(got, want) {
			t.Errorf("counted %v", got)
		}
	})
}

// TestControllerMayDieAtAnyStep: before the agent acts, and after it has but
// before anybody knows. The store gets exactly one new epoch either way.
func TestControllerMayDieAtAnyStep(t *testing.T) {
	for _, step := range []string{"before", "after"} {
		t.Run(step, func(t *testing.T) {
			run(t, 4, []string{"s1 m1 m2", "s2 m2 m3", "s3 m3 m4", "s4 m4 m1"}, func(s *site) {
				leader := s.leader()
				var victim cluster.StoreRecord // neither copy is on the leader
				for _, r := range s.stores() {
					if r.Slots[0].Machine != leader && r.Slots[1].Machine != leader {
						victim = r
					}
				}
				dead := victim.MachineOf(victim.Master)
				var once sync.Once
				die := func(plan.Action) {
					once.Do(func() {
						s.mu.Lock()
						s.machines[leader].state = killed
						s.mu.Unlock()
						s.machines[leader].client.SetFaults(memory.Faults{Down: context.Canceled})
					})
				}
				s.mu.Lock()
				if step == "before" {
					s.before = die
				} else {
					s.after = die
				}
				s.mu.Unlock()
				s.kill(dead, killed)
				for r := victim; r.Epoch == victim.Epoch; r, _ = s.store(string(victim.Store)) {
					s.pass(10 * time.Millisecond)
				}
				s.kill(leader, killed)
				s.pass(time.Minute)
				if after, _ := s.store(string(victim.Store)); after.Epoch != victim.Epoch+1 {
					t.Fatalf("epoch rose by %d", after.Epoch-victim.Epoch)
				}
				if s.leader() == leader {
					t.Fatal("the dead leads")
				}
			})
		})
	}
}

// TestTwoControllersDoNoHarm: both believe in their terms, and act.
func TestTwoControllersDoNoHarm(t *testing.T) {
	run(t, 3, threeStores, func(s *site) {
		leader := s.leader()
		var second cluster.Machine
		for _, m := range []cluster.Machine{"m1", "m2", "m3"} {
			if m != leader {
				second = m
			}
		}
		ctx, cancel := context.WithCancel(s.ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.machines[second].controller.lead(ctx, coord.Term{Key: coord.ControllerKey, Rev: 1})
		}()
		defer func() { cancel(); <-done }()
		dead := s.other()
		if dead == second {
			for _, m := range []cluster.Machine{"m1", "m2", "m3"} {
				if m != leader && m != second {
					dead = m
				}
			}
		}
		epochs := map[cluster.Store]cluster.Epoch{}
		for _, r := range s.stores() {
			epochs[r.Store] = r.Epoch
		}
		// The first to ask is not obeyed before the other has asked too.
		both := make(chan struct{})
		var mu sync.Mutex
		n := 0
		s.mu.Lock()
		s.before = func(plan.Action) {
			mu.Lock()
			if n++; n == 2 {
				close(both)
			}
			mu.Unlock()
			select {
			case <-both:
			case <-time.After(time.Second):
			}
		}
		s.mu.Unlock()
		s.kill(dead, killed)
		s.untilMastersLeave(dead, time.Minute)
		s.pass(10 * time.Second)
		for _, r := range s.stores() {
			if rose := r.Epoch - epochs[r.Store]; rose > 1 {
				t.Errorf("%s: epoch rose by %d", r.Store, rose)
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.asked) < 2 {
			t.Errorf("only one of them asked: %v", s.asked)
		}
	})
}

// TestLateObserverAccusesNobody: this process did not run for ten seconds, and
// every probe under way then says "refused".
func TestLateObserverAccusesNobody(t *testing.T) {
	run(t, 3, threeStores, func(s *site) {
		stuck := make(chan struct{})
		s.mu.Lock()
		s.stuck = stuck
		s.mu.Unlock()
		s.pass(10 * time.Second)
		s.mu.Lock()
		s.stuck = nil
		s.mu.Unlock()
		close(stuck)
		s.pass(time.Second)
		if len(s.asked) != 0 {
			t.Fatalf("asked: %v", s.asked)
		}
		if p := s.problems(); slices.Contains(p, plan.MachineDead) || slices.Contains(p, plan.MachineSilent) {
			t.Fatalf("accused: %v", p)
		}
	})
}

func TestLeaderWithoutCoordinatorStepsDown(t *testing.T) {
	run(t, 3, threeStores, func(s *site) {
		leader := s.leader()
		s.machines[leader].client.SetFaults(memory.Faults{Down: context.Canceled})
		s.pass(5 * time.Second)
		if s.machines[leader].controller.Report().Leading {
			t.Fatal("it leads on without its lease")
		}
		if s.leader() == leader || len(s.asked) != 0 {
			t.Fatalf("leader %s, asked %v", s.leader(), s.asked)
		}
	})
}

func TestHistoryIsBounded(t *testing.T) {
	run(t, 3, threeStores, func(s *site) {
		for i := range coord.MaxHistory + 300 {
			s.put(coord.HistoryKey(time.Unix(int64(i), 0), "x"), []byte("{}"))
		}
		s.pass(2 * time.Minute)
		kvs, _, err := s.admin.List(s.ctx, coord.HistoryPrefix)
		if err != nil || len(kvs) != coord.MaxHistory || kvs[0].Key == coord.HistoryKey(time.Unix(0, 0), "x") {
			t.Fatalf("%d entries, %v", len(kvs), err)
		}
	})
}

func TestTimingIsChecked(t *testing.T) {
	if err := (Timing{}).Check(); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []Timing{
		{ProbeTimeout: time.Second},
		{RefusedAfter: 300 * time.Millisecond},
		{SilentAfter: 600 * time.Millisecond},
		{StatusFresh: time.Second},
		{ElectionTTL: time.Second},
		{SilentAfter: 1900 * time.Millisecond},
		{Target: time.Second},
	} {
		if bad.Check() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	if _, err := New(Config{Timing: Timing{Target: 1}}); err == nil {
		t.Error("New takes impossible times")
	}
}
