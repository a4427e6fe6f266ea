package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandemail/tandemail/e2e/ledger"
)

const (
	recoverLoad = 4 * time.Second // under load before the coordinator is wiped
	leftAlone   = 5 * time.Second // wiped, and nothing may be promoted
)

// TestWipedCoordinatorIsRecoveredFromTheSlots wipes all three members of the
// coordinator under load. Nothing may be promoted, and no address be called unknown,
// until a person recovers it; then everything that was acknowledged is there.
func TestWipedCoordinatorIsRecoveredFromTheSlots(t *testing.T) {
	needDev(t)
	dir, err := os.MkdirTemp("", "tmr-") // short: a socket lives in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kept %s and %s.log", dir, dir)
			return
		}
		os.RemoveAll(dir)
		os.Remove(dir + ".log")
	})
	ctx := t.Context()
	r := &round{c: startDev(t, dir), rec: &ledger.Recorder{}, seed: 1}
	if err := r.prepare(ctx); err != nil {
		t.Fatalf("prepare: %v", err)
	}
	export := r.exportWithUsers(t)
	r.loadUntilWiped(t)
	r.nothingHappens(t)

	out, err := r.c.run(ctx, "control", "recover", "--from", export, "--yes")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", out)
	if err := r.c.settle(ctx, settleTime); err != nil {
		t.Fatal(err)
	}
	if err := r.c.compareCopies(ctx, settleTime); err != nil {
		t.Error(err)
	}
	if err := r.readBack(ctx); err != nil {
		t.Fatalf("read back: %v", err)
	}
	r.judge(t, "the coordinator", 0)
	if _, err := r.c.run(ctx, "control", "recover", "--yes"); err == nil {
		t.Error("there was something to recover again")
	}
}

// exportWithUsers starts a machine again, which then exports, and names the file.
func (r *round) exportWithUsers(t *testing.T) (path string) {
	t.Helper()
	name := r.c.Machines[0].Name
	if err := errors.Join(r.c.kill(name), r.c.start(t.Context(), name), r.c.settle(t.Context(), settleTime)); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(readyTime); time.Now().Before(end) && pause(t.Context(), 100*time.Millisecond); {
		files, err := filepath.Glob(filepath.Join(r.c.Dir, name, "meta", "coordinator", "export-*.json"))
		if err != nil || len(files) == 0 {
			continue
		}
		path = slices.Max(files)
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if !slices.ContainsFunc(r.c.Users, func(u user) bool { return !strings.Contains(string(b), u.User) }) {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode of the export: %v, %v", info.Mode(), err)
			}
			return path
		}
	}
	t.Fatalf("no export on %s names all users; the newest is %q", name, path)
	return ""
}

// loadUntilWiped delivers, kills every machine meanwhile, takes the coordinator's
// data away and starts the machines again.
func (r *round) loadUntilWiped(t *testing.T) {
	t.Helper()
	work, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	var left atomic.Int64
	left.Store(shortCount)
	for n := range couriers {
		k := &courier{c: r.c, rec: r.rec, rng: r.rng(n), n: n, left: &left}
		clients.Go(func() { k.run(work) })
	}
	for n, u := range r.writers() {
		w := newWriter(r.c, r.rec, r.rng(100+n), u)
		clients.Go(func() { w.run(work) })
	}
	pause(work, recoverLoad)
	for _, m := range r.c.Machines {
		if err := r.c.kill(m.Name); err != nil {
			t.Error(err)
		}
	}
	cancel()
	clients.Wait()
	var starts sync.WaitGroup
	for _, m := range r.c.Machines {
		members, err := filepath.Glob(filepath.Join(r.c.Dir, m.Name, "meta", "*", "member"))
		if err != nil || len(members) != 1 {
			t.Fatalf("data of the coordinator on %s: %v, %v", m.Name, members, err)
		}
		if err := os.RemoveAll(filepath.Dir(members[0])); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range r.c.Machines {
		starts.Go(func() {
			if err := r.c.start(t.Context(), m.Name); err != nil {
				t.Error(err)
			}
		})
	}
	starts.Wait()
}

// nothingHappens looks for a while at a cluster whose coordinator was wiped.
func (r *round) nothingHappens(t *testing.T) {
	t.Helper()
	told := time.Time{}
	for end := time.Now().Add(readyTime); time.Now().Before(end) && pause(t.Context(), 200*time.Millisecond); {
		out, err := r.c.run(t.Context(), "status")
		var s struct {
			Stores   []json.RawMessage `json:"stores"`
			Problems []struct {
				Code, Severity, Next string
			} `json:"problems"`
		}
		if err == nil {
			err = json.Unmarshal(out, &s)
		}
		blind := false // the coordinator does not answer yet: it shows what the slots know
		for _, p := range s.Problems {
			blind = blind || p.Code == "coordinator-stale"
		}
		if len(s.Stores) != 0 && !blind {
			t.Fatalf("stores appeared: %s", out)
		}
		for _, p := range s.Problems {
			if err == nil && told.IsZero() && p.Code == "coordinator-rewound" && p.Severity == "critical" && p.Next == "run `tandemail control recover`" {
				told = time.Now()
			}
		}
		if !told.IsZero() && time.Since(told) > leftAlone {
			r.nobodyIsUnknown(t)
			return
		}
	}
	t.Fatal("no problem says that the coordinator must be recovered")
}

// nobodyIsUnknown: what an MTA is told of an address must not bounce mail.
func (r *round) nobodyIsUnknown(t *testing.T) {
	t.Helper()
	var left atomic.Int64
	k := &courier{c: r.c, rec: &ledger.Recorder{}, rng: r.rng(1), n: 99, left: &left}
	defer k.quit()
	if !k.connect(t.Context()) {
		t.Fatal("no router answers")
	}
	replies, err := k.lmtp.Data("ledger@example.test", []string{r.c.Users[0].User}, deliverable("d-99-1"))
	if err != nil {
		t.Fatal(err)
	}
	if code := fmt.Sprint(replies[0].Code); !strings.HasPrefix(code, "4") {
		t.Errorf("a user of the site was answered %s", code)
	}
}
