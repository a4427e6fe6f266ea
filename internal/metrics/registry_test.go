package metrics

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/tandemail/tandemail/internal/accept"
	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/controller"
	"github.com/tandemail/tandemail/internal/coord/memory"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/host"
	"github.com/tandemail/tandemail/internal/latency"
	"github.com/tandemail/tandemail/internal/lmtpd"
	"github.com/tandemail/tandemail/internal/plan"
	"github.com/tandemail/tandemail/internal/proxy"
	"github.com/tandemail/tandemail/internal/remote"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/route"
	"github.com/tandemail/tandemail/internal/router"
	"github.com/tandemail/tandemail/internal/session"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/tail"
)

var update = flag.Bool("update", false, "write the golden file anew")

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return noon }

func twice(d time.Duration) latency.Counts {
	h := latency.New(time.Millisecond, time.Second)
	h.Observe(d)
	h.Observe(time.Minute)
	return h.Counts()
}

// full are the sources of a machine with every role, whose figures are made up.
func full(t *testing.T) Sources {
	d := disk.New(disk.Config{Now: clock, Usage: func() (vfs.DiskUsage, error) {
		return vfs.DiskUsage{TotalBytes: 1000, AvailBytes: 150}, nil
	}})
	if err := d.Refresh(); err != nil {
		t.Fatal(err)
	}
	c := NewCoord(memory.NewServer(memory.Config{}).Client(), clock)
	if _, _, err := c.Get(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	return Sources{
		Cluster: "example", Machine: "m1",
		Disks: map[string]*disk.Disk{"meta": d},
		Slots: func() []agent.SlotStats {
			return []agent.SlotStats{master(), replicaOf(), {Status: slot.Status{Store: "s3", Role: "idle"}, Lost: true}}
		},
		Tails: func() []*tail.Report {
			return []*tail.Report{{Store: "s1", Counts: tail.Counts{Found: 9, Delivered: 5, Had: 2, Gone: 1, Left: 1, Listed: 4}}}
		},
		Host: func() host.Stats {
			return host.Stats{
				Sessions: 1, Opened: 2, Redeemed: 3, Panics: 4, Failed: map[session.Reason]int64{session.Moved: 5},
				Answered: map[host.Answered]int64{{Name: "UID FETCH", Status: "OK"}: 6, {Name: "other", Status: "BAD"}: 7},
			}
		},
		Link:    func() accept.Stats { return accept.Stats{Open: 1, Accepted: 2, Refused: 3} },
		RenewBy: func() time.Time { return time.Unix(1_800_000_000, 0) },
		Shared: func() remote.ServerStats {
			return remote.ServerStats{Streams: 1, Views: 2, Staged: 3, Asked: map[string]int64{"ok": 4, "refused": 5}}
		},
		Accounts: func() remote.Stats { return remote.Stats{Open: 1, Opened: 2, Repeats: 3} },
		Clients: map[string]func() proxy.Stats{"imap": func() proxy.Stats {
			return proxy.Stats{
				Open: 1, LoggedIn: 2, Idling: 3, Holding: 4, Connections: 5, Commands: 6, Broken: 7, Resumed: 8, Resent: 9,
				Holds: twice(time.Second), Logins: map[string]int64{"ok": 10, "wrong": 11}, Mechanisms: map[string]int64{"PLAIN": 13}, Byes: map[string]int64{"hold limit": 12},
			}
		}},
		LMTP:       func() accept.Stats { return accept.Stats{Open: 1, Accepted: 2, Refused: 3} },
		Router:     func() router.Stats { return router.Stats{Deliveries: map[string]int64{"delivered": 4, "deferred": 5}} },
		Deliveries: NewDeliveries(clock),
		Routes:     func() []route.Route { return []route.Route{{Store: "s1", Master: "m1"}, {Store: "s2"}} },
		Directory:  func() directory.Stats { return directory.Stats{Users: 3, Aliases: 4, Live: true} },
		Coord:      c,
		Controller: func() controller.Report {
			return controller.Report{Leading: true, At: noon, Problems: []plan.Problem{
				{Code: plan.Degraded, Severity: plan.Critical, Store: "s1"},
				{Code: plan.Degraded, Severity: plan.Critical, Store: "s2"},
				{Code: plan.CopyMissing, Severity: plan.Note},
			}}
		},
		Database: func() Database { return Database{File: 3 << 20, Used: 1 << 20, Quota: 1 << 30} },
		Actions: func() map[controller.Acted]int64 {
			return map[controller.Acted]int64{{Kind: plan.Nominate}: 2, {Kind: plan.Drain, Failed: true}: 1}
		},
	}
}

func master() agent.SlotStats {
	one, two, three := cluster.SlotID{1}, cluster.SlotID{2}, cluster.SlotID{3}
	return agent.SlotStats{
		Status: slot.Status{
			Store: "s1", Slot: one, Role: "master", State: slot.StateOK, Counter: 2, Epoch: 3, Serving: true,
			Low: 20, End: 500, Durable: 400, Commit: 300, Applied: 200, PendingOps: 1, SnapshotLSN: 150, SnapshotAt: noon, Settled: 150,
			Record: cluster.StoreRecord{
				Slots: []cluster.SlotRef{{Slot: one, Machine: "m1"}, {Slot: two, Machine: "m2"}, {Slot: three, Machine: "m3"}}, InSync: []cluster.SlotID{one},
			},
		},
		Stats: slot.Stats{
			Counts: slot.Counts{Operations: 7, Deliveries: 8, Batches: 9}, Promotions: 1, Holds: twice(time.Millisecond), Journal: 100,
			Packs: slot.PackStats{Packs: 3, Octets: 4000, Moved: 50, Dead: 1, Collected: 2, Scrubbed: 3000, Damaged: 1},
			Peers: []replica.PeerState{{Slot: two, Streaming: true, Durable: 150}, {Slot: three}, {Slot: cluster.SlotID{9}}},
		},
	}
}

func replicaOf() agent.SlotStats {
	return agent.SlotStats{Status: slot.Status{
		Store: "s2", Slot: cluster.SlotID{4}, Role: "replica", State: slot.StateCatching, Counter: 1, End: 10, Durable: 10,
		Record: cluster.StoreRecord{Slots: make([]cluster.SlotRef, 2), InSync: make([]cluster.SlotID, 1)},
	}}
}

func scrape(t *testing.T, s Sources) string {
	t.Helper()
	var log bytes.Buffer
	r, err := New(s, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK || log.Len() > 0 {
		t.Fatalf("answered %d, logged %s", w.Code, &log)
	}
	return w.Body.String()
}

var foreign = regexp.MustCompile(`(?m)^(# (HELP|TYPE) )?((go|process|promhttp)_|tandemail_build_info\{).*\n`)

func TestScrapeIsTheGoldenOne(t *testing.T) {
	const golden = "testdata/scrape.txt"
	got := foreign.ReplaceAllString(scrape(t, full(t)), "")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestNamesFollowTheConventions(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(scrape(t, full(t)))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestEveryMetricIsThereAndOnlyKnownLabels(t *testing.T) {
	text, m := scrape(t, full(t)), newMachine(Sources{})
	known := strings.Fields("cluster code command disk goversion kind level machine mechanism operation protocol reason result revision role severity slot state status store version")
	for _, f := range m.families {
		if !strings.Contains(text, "\n# TYPE "+f.name+" "+f.kind+"\n") {
			t.Errorf("%s is never given out", f.name)
		}
		for _, l := range f.labels {
			if !strings.Contains(" "+strings.Join(known, " ")+" ", " "+l+" ") {
				t.Errorf("%s has the label %s: are its values few? Then add it here", f.name, l)
			}
		}
	}
}

func TestMachineWithoutRolesHasMetricsOfItself(t *testing.T) {
	text := scrape(t, Sources{Cluster: "example", Machine: "m1"})
	for _, want := range []string{
		"tandemail_build_info{", `tandemail_machine_info{cluster="example",machine="m1"} 1`, "go_goroutines ", "process_open_fds ",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "tandemail_slot") || strings.Contains(text, "tandemail_coordinator") {
		t.Errorf("figures of what is not there:\n%s", text)
	}
}

// ticking is a clock that moves when a test says so.
type ticking struct{ t time.Time }

func (c *ticking) now() time.Time { return c.t }

// slow takes a second for each message.
type slow struct {
	lmtpd.Backend
	lmtpd.Session
	clock *ticking
}

func (s slow) NewSession(context.Context, lmtpd.ConnInfo) (lmtpd.Session, error) { return s, nil }

func (s slow) Data(_ context.Context, _ *lmtpd.Message, answer func(int, lmtpd.Result)) {
	s.clock.t = s.clock.t.Add(time.Second)
	answer(0, lmtpd.Result{Text: "kept"})
}

func TestDeliveriesAndTheirHoldsAreTimed(t *testing.T) {
	c := &ticking{noon}
	d := NewDeliveries(c.now)
	s, err := d.Backend(slow{clock: c}).NewSession(t.Context(), lmtpd.ConnInfo{})
	if err != nil {
		t.Fatal(err)
	}
	var told lmtpd.Result
	s.Data(t.Context(), &lmtpd.Message{}, func(_ int, r lmtpd.Result) { told = r })
	if n := d.took.Counts(); n.Total() != 1 || n.Sum != time.Second || told.Text != "kept" {
		t.Errorf("%d of %v, told %+v", n.Total(), n.Sum, told)
	}
	given := 0
	release, ok := d.Hold(func() (func(), bool) { return func() { given++ }, true })()
	c.t = c.t.Add(3 * time.Second)
	if !ok || d.holds.Counts().Total() != 0 {
		t.Fatal("counted before it has ended, or none")
	}
	release()
	if n := d.holds.Counts(); n.Total() != 1 || n.Sum != 3*time.Second || given != 1 {
		t.Errorf("%d of %v, given back %d times", n.Total(), n.Sum, given)
	}
	if release, ok := d.Hold(func() (func(), bool) { return nil, false })(); ok || release != nil {
		t.Error("a place where there is none")
	}
}
