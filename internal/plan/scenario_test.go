package plan_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/plan"
)

var epoch0 = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// now is the moment of every scenario; "ago" counts back from it.
var now = epoch0.Add(24 * time.Hour)

// TestScenarios runs testdata/*: a cluster in text, and what is decided.
//
//	cluster                 lines below describe it; healthy unless said
//	machine m1 [zone=a] [refused=600ms|silent=2s] [failures=3] [nolease] [draining]
//	           [nostatus|status=3s] [up=5m] [accusers=front-m3] [control] [new]
//	           [certificate=700h]
//	store s1 slots=m1,m2 [insync=m1,m2] [master=m1] [epoch=3] [want=m2] [missing=m2:2h] [since=1m]
//	slot s1@m2 [role=replica] [durable=900] [rev=7] [restarted] [gone] [empty] [counter=1] [reaches=-]
//	           [failed=why] [badop=100] [newer] [frozen=why] [stalled] [damaged=what]
//	unknown s9@m1
//	recent nominate s1@m2 epoch=3 ago=500ms
//	settings [paused] [noreturn] [switchovers=1] [accept=1m]
//	----
//	plan | may-stop m1
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var snap plan.Snapshot
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			switch td.Cmd {
			case "cluster":
				snap = parse(t, td.Input)
				return ""
			case "plan":
				return plan.Make(snap, plan.Policy{}, now).String()
			case "may-stop":
				answer, why := plan.MayStop(snap, plan.Policy{}, now, cluster.Machine(td.CmdArgs[0].Key))
				return strings.Join(append([]string{string(answer)}, why...), "\n") + "\n"
			}
			t.Fatalf("unknown command %s", td.Cmd)
			return ""
		})
	})
}

// slotID is the same for the same store and machine.
func slotID(s, m string) cluster.SlotID {
	var id cluster.SlotID
	copy(id[:], s+"@"+m)
	return id
}

type words map[string]string

func (w words) has(k string) bool { _, ok := w[k]; return ok }

func (w words) dur(t *testing.T, k string, def time.Duration) time.Duration {
	if !w.has(k) {
		return def
	}
	d, err := time.ParseDuration(w[k])
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (w words) num(t *testing.T, k string, def int) int {
	if !w.has(k) {
		return def
	}
	n, err := strconv.Atoi(w[k])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func parse(t *testing.T, text string) plan.Snapshot {
	var snap plan.Snapshot
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		f := strings.Fields(line)
		w := words{}
		for _, x := range f[1:] {
			k, v, _ := strings.Cut(x, "=")
			w[k] = v
		}
		switch f[0] {
		case "machine":
			snap.Machines = append(snap.Machines, parseMachine(t, f[1], w))
		case "store":
			parseStore(t, &snap, f[1], w)
		case "slot":
			changeSlot(t, &snap, f[1], w)
		case "unknown":
			s, m, _ := strings.Cut(f[1], "@")
			for i := range snap.Machines {
				if snap.Machines[i].Machine == cluster.Machine(m) {
					snap.Machines[i].Slots = append(snap.Machines[i].Slots, plan.SlotStatus{Slot: slotID(s, m), Store: cluster.Store(s), Role: "idle", Epoch: 3, Closed: true})
				}
			}
		case "recent":
			s, m, _ := strings.Cut(f[2], "@")
			snap.Recent = append(snap.Recent, plan.Recent{
				At: now.Add(-w.dur(t, "ago", 0)), Kind: plan.Kind(f[1]), Store: cluster.Store(s), Slot: slotID(s, m), Epoch: cluster.Epoch(w.num(t, "epoch", 3)),
			})
		case "settings":
			snap.Settings = coord.Settings{Paused: w.has("paused"), PausedBy: "root", PausedReason: "upgrade", PausedAt: epoch0, NoReturn: w.has("noreturn"), AcceptDeadBefore: now.Add(-w.dur(t, "accept", 1e6*time.Hour)), MaxSwitchovers: w.num(t, "switchovers", 0)}
		case "stale":
			snap.Stale = now.Add(-w.dur(t, "for", time.Minute))
		case "rewound":
			snap.Rewound = true
		default:
			t.Fatalf("line %q", line)
		}
	}
	return snap
}

func parseMachine(t *testing.T, name string, w words) plan.Machine {
	m := plan.Machine{
		MachineRecord: coord.MachineRecord{Machine: cluster.Machine(name), Zone: cluster.Zone(w["zone"]), Storage: !w.has("witness"), Control: w.has("control"), Draining: w.has("draining")},
		Leased:        !w.has("nolease"),
		Probe:         plan.Probe{Known: !w.has("new"), UpSince: now.Add(-w.dur(t, "up", time.Hour))},
		StatusAt:      now.Add(-w.dur(t, "status", 100*time.Millisecond)),
	}
	if w["certificate"] != "" { // how long it is good for
		m.CertificateEnds = now.Add(w.dur(t, "certificate", 0))
	}
	if w.has("accusers") {
		m.Accusers = strings.Split(w["accusers"], ",")
	}
	for _, how := range []string{"refused", "silent"} {
		if w.has(how) {
			m.Probe = plan.Probe{Known: true, Failures: w.num(t, "failures", 3), Refused: how == "refused", Since: now.Add(-w.dur(t, how, 0))}
			m.StatusAt = now.Add(-time.Minute)
		}
	}
	if w.has("nostatus") {
		m.StatusAt = time.Time{}
	}
	return m
}

func parseStore(t *testing.T, snap *plan.Snapshot, name string, w words) {
	s := plan.Store{Rev: 7, Missing: map[cluster.SlotID]time.Time{}}
	s.Store, s.Epoch = cluster.Store(name), cluster.Epoch(w.num(t, "epoch", 3))
	machines := strings.Split(w["slots"], ",")
	insync := machines
	if w.has("insync") {
		insync = strings.Split(w["insync"], ",")
	}
	master := machines[0]
	if w.has("master") {
		master = w["master"]
	}
	if s.Epoch > 0 {
		s.Master, s.Incarnation = slotID(name, master), 5
		for _, m := range insync {
			s.InSync = append(s.InSync, slotID(name, m))
		}
	}
	if w.has("want") {
		s.Want = slotID(name, w["want"])
	}
	if w.has("since") {
		s.MasterSince = now.Add(-w.dur(t, "since", 0))
	}
	if m, ago, ok := strings.Cut(w["missing"], ":"); ok {
		s.Missing[slotID(name, m)] = now.Add(-words{"x": ago}.dur(t, "x", 0))
	}
	for _, m := range machines {
		s.Slots = append(s.Slots, cluster.SlotRef{Slot: slotID(name, m), Machine: cluster.Machine(m), Counter: 2})
		st := plan.SlotStatus{Slot: slotID(name, m), Store: s.Store, Role: "replica", Incarnation: 9, Counter: 2, Durable: 1000, Epoch: s.Epoch}
		if s.Epoch > 0 && m == master {
			st.Role, st.Incarnation = "master", 5
		}
		for _, o := range machines {
			if o != m {
				st.Reaches = append(st.Reaches, slotID(name, o))
			}
		}
		for i := range snap.Machines {
			if snap.Machines[i].Machine == cluster.Machine(m) {
				snap.Machines[i].Slots = append(snap.Machines[i].Slots, st)
			}
		}
	}
	snap.Stores = append(snap.Stores, s)
}

func changeSlot(t *testing.T, snap *plan.Snapshot, name string, w words) {
	s, m, _ := strings.Cut(name, "@")
	for i := range snap.Machines {
		slots := snap.Machines[i].Slots
		at := slices.IndexFunc(slots, func(st plan.SlotStatus) bool { return st.Slot == slotID(s, m) })
		if at < 0 {
			continue
		}
		st := &slots[at]
		if w.has("role") {
			st.Role = w["role"]
		}
		if w.has("restarted") {
			st.Incarnation, st.Role = 6, "replica"
		}
		if w.has("reaches") {
			st.Reaches = nil
		}
		st.Durable = cluster.LSN(w.num(t, "durable", int(st.Durable)))
		st.Rev = cluster.Rev(w.num(t, "rev", 0))
		st.Counter = uint64(w.num(t, "counter", int(st.Counter)))
		st.Failed, st.Frozen, st.Stalled, st.Empty = w["failed"], w["frozen"], w.has("stalled"), w.has("empty")
		st.Damaged = w["damaged"]
		st.BadOp, st.BadNewer = cluster.LSN(w.num(t, "badop", 0)), w.has("newer")
		if w.has("gone") {
			snap.Machines[i].Slots = slices.Delete(slots, at, at+1)
		}
		return
	}
	t.Fatal(fmt.Errorf("no slot %s", name))
}
