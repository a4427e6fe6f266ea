package plan_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/plan"
)

func hosts(n int) []plan.Host {
	out := make([]plan.Host, n)
	for i := range out {
		out[i].Machine = cluster.Machine(fmt.Sprintf("m%02d", i))
	}
	return out
}

func stores(from, n int) []cluster.Store {
	out := make([]cluster.Store, n)
	for i := range out {
		out[i] = cluster.Store(fmt.Sprintf("s%03d", from+i))
	}
	return out
}

// tally counts masters and slots of each machine, and the partners of its masters.
func tally(ps []plan.Placement) (masters, slots map[cluster.Machine]int, partners map[cluster.Machine]map[cluster.Machine]int) {
	masters, slots, partners = map[cluster.Machine]int{}, map[cluster.Machine]int{}, map[cluster.Machine]map[cluster.Machine]int{}
	for _, p := range ps {
		masters[p.Machines[0]]++
		for i, m := range p.Machines {
			slots[m]++
			if i > 0 {
				if partners[p.Machines[0]] == nil {
					partners[p.Machines[0]] = map[cluster.Machine]int{}
				}
				partners[p.Machines[0]][m]++
			}
		}
	}
	return masters, slots, partners
}

// TestADeadMachinesMastersSpreadEvenly is the promise of the design: when one of
// n machines dies each survivor gets at most ceil(its masters/(n-1)) more, also
// when the stores came in several steps.
func TestADeadMachinesMastersSpreadEvenly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 12).Draw(t, "machines")
		var all []plan.Placement
		for range rapid.IntRange(1, 4).Draw(t, "steps") {
			more, err := plan.Place(hosts(n), all, stores(len(all), rapid.IntRange(0, 60).Draw(t, "stores")), 2)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, more...)
		}
		masters, slots, partners := tally(all)
		fewest, most := len(all), 0
		for _, h := range hosts(n) {
			m := masters[h.Machine]
			if m != len(all)/n && m != len(all)/n+1 {
				t.Fatalf("%d masters of %d on one of %d machines", m, len(all), n)
			}
			for to, more := range partners[h.Machine] {
				if limit := (m + n - 2) / (n - 1); more > limit || to == h.Machine {
					t.Fatalf("%s dies with %d masters: %s gets %d, more than %d", h.Machine, m, to, more, limit)
				}
			}
			fewest, most = min(fewest, slots[h.Machine]), max(most, slots[h.Machine])
		}
		if most-fewest > 2 {
			t.Fatalf("between %d and %d slots a machine", fewest, most)
		}
	})
}

func TestCopiesAreInDifferentZones(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hs := hosts(rapid.IntRange(2, 10).Draw(t, "machines"))
		zones, bare := map[cluster.Zone]bool{}, 0
		for i := range hs {
			hs[i].Zone = cluster.Zone(rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "zone"))
			hs[i].Weight = rapid.IntRange(0, 3).Draw(t, "weight")
			if zones[hs[i].Zone] = true; hs[i].Zone == "" {
				bare++
			}
		}
		delete(zones, "")
		copies := rapid.IntRange(1, 4).Draw(t, "copies")
		ps, err := plan.Place(hs, nil, stores(0, 30), copies)
		if possible := len(zones)+bare >= copies; possible != (err == nil) || err != nil && !errors.Is(err, plan.ErrPlace) {
			t.Fatalf("%d copies in %d zones: %v", copies, len(zones)+bare, err)
		}
		zone := map[cluster.Machine]cluster.Zone{}
		for _, h := range hs {
			zone[h.Machine] = h.Zone
		}
		for _, p := range ps {
			on, in := map[cluster.Machine]bool{}, map[cluster.Zone]bool{}
			for _, m := range p.Machines {
				if on[m] || zone[m] != "" && in[zone[m]] {
					t.Fatalf("%v: a machine or zone twice", p)
				}
				on[m], in[zone[m]] = true, true
			}
			if len(p.Machines) != copies {
				t.Fatalf("%v has %d copies", p, len(p.Machines))
			}
		}
	})
}

func TestWeightsDecideTheShareOfMasters(t *testing.T) {
	hs := hosts(3)
	hs[0].Weight = 2
	ps, err := plan.Place(hs, nil, stores(0, 40), 2)
	if err != nil {
		t.Fatal(err)
	}
	masters, _, _ := tally(ps)
	want := map[cluster.Machine]int{"m00": 20, "m01": 10, "m02": 10}
	if !reflect.DeepEqual(masters, want) {
		t.Fatalf("%v, want %v", masters, want)
	}
}

// TestANewMachineMovesNothing: what is placed stays; new stores go where there is room.
func TestANewMachineMovesNothing(t *testing.T) {
	old, err := plan.Place(hosts(3), nil, stores(0, 12), 2)
	if err != nil {
		t.Fatal(err)
	}
	more, err := plan.Place(hosts(4), old, stores(12, 4), 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range more {
		if p.Machines[0] != "m03" {
			t.Fatalf("%v: the new machine has no master yet, another gets one", p)
		}
	}
}
