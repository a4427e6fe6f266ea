package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// steady delivers a message after the other, at any host that takes it.
type steady struct {
	user  user
	hosts []*host
	stop  context.CancelFunc
	done  sync.WaitGroup
	acked map[string]bool // subjects that were acknowledged, for who has waited
}

func deliverSteadily(t *testing.T, u user, hosts ...*host) *steady {
	ctx, cancel := context.WithCancel(t.Context())
	s := &steady{user: u, hosts: hosts, stop: cancel, acked: map[string]bool{}}
	t.Cleanup(s.end)
	s.done.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			subject := fmt.Sprintf("steady-%d", n) // never given twice
			if tryDeliver(ctx, s.hosts[n%len(hosts)].addr("lmtp-port"), u, subject) == nil {
				s.acked[subject] = true
			}
			pause(ctx, 20*time.Millisecond)
		}
	})
	return s
}

func (s *steady) end() {
	s.stop()
	s.done.Wait()
}

// wantAll reads the envelopes: what was acknowledged is there, once.
func (s *steady) wantAll(t *testing.T) {
	t.Helper()
	for subject, n := range subjects(t, s.hosts[0], s.user) {
		if strings.HasPrefix(subject, "steady-") && n != 1 {
			t.Errorf("%s is there %d times", subject, n)
		}
		delete(s.acked, subject)
	}
	if len(s.acked) > 0 {
		t.Errorf("%d messages were acknowledged and are not there: %v", len(s.acked), s.acked)
	}
}

// subjects reads the envelope and the structure of every message, which are derived
// by the parser of the master's release, and kept.
func subjects(t *testing.T, h *host, u user) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyTime)
	defer cancel()
	s, err := login(ctx, h.addr("imap-port"), u)
	if err != nil {
		t.Fatalf("%v\n%s", err, h.lastLog())
	}
	defer s.Close()
	seen := map[string]int{}
	err = s.do(func() error {
		if _, err := s.Select("INBOX", nil).Wait(); err != nil {
			return err
		}
		var all imap.UIDSet
		all.AddRange(1, 0)
		messages, err := s.Fetch(all, &imap.FetchOptions{UID: true, Envelope: true, BodyStructure: &imap.FetchItemBodyStructure{}}).Collect()
		for _, m := range messages {
			seen[m.Envelope.Subject]++
		}
		return err
	})
	if err != nil {
		t.Fatalf("read at %s: %v", h.name, err)
	}
	return seen
}

// become starts the host's machine with another program, and waits until every copy
// is in sync again.
func (h *host) become(program string, of *host) {
	h.end(syscall.SIGTERM)
	h.runs = program
	h.serve()
	of.settle(3)
}

func (h *host) wantEqualCopies() {
	t := h.site.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyTime)
	defer cancel()
	for {
		out, err := h.ask(ctx, "store", "digest", "--json")
		if len(out) > 0 {
			err = judgeDigests(out)
		}
		if err == nil {
			return
		}
		if !pause(ctx, 300*time.Millisecond) {
			t.Errorf("copies: %v", err)
			return
		}
	}
}

// wantLevel looks at what the cluster says of its level.
func (h *host) wantLevel(level, next int) {
	t := h.site.t
	t.Helper()
	var l struct{ Level, Next int }
	if err := json.Unmarshal(h.must("cluster", "show", "--json"), &l); err != nil {
		t.Fatal(err)
	}
	if l.Level != level || l.Next != next {
		t.Errorf("level %d, next %d; want %d and %d", l.Level, l.Next, level, next)
	}
}

// TestAClusterIsUpgradedUnderLoadAndTheWayBackIsOpenUntilItIsFinished runs two builds
// of different level in one cluster, machine by machine.
func TestAClusterIsUpgradedUnderLoadAndTheWayBackIsOpenUntilItIsFinished(t *testing.T) {
	needFailures(t)
	next := filepath.Join(t.TempDir(), "tandemail-next")
	if err := build(next, "-tags", "nextlevel"); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, "m1", "m2", "m3")
	m1, m2, m3 := s.hosts["m1"], s.hosts["m2"], s.hosts["m3"]
	s.found(m1, m2, m3)
	m1.must("store", "create", "--count", "3")
	m1.settle(3)
	u := user{"a@example.test", "secret"}
	m1.must("user", "add", u.User, "--password", u.Password)
	deliverOne(t, m1, u, "first")
	load := deliverSteadily(t, u, m1, m2, m3)

	m1.become(next, m2)
	subjects(t, m2, u)
	m2.become(next, m1)
	subjects(t, m1, u)
	_, err := m1.ask(t.Context(), "cluster", "upgrade", "--finish", "--level", "2", "--yes")
	wantRefused(t, err, "m3 supports 1")
	m1.wantEqualCopies() // derived data of two parsers is there

	m2.become(binary, m1) // and back
	m3.become(next, m1)
	m2.become(next, m1)
	m1.wantLevel(1, 2)
	m1.must("cluster", "upgrade", "--finish", "--yes")
	m1.wantLevel(2, 2)
	deliverOne(t, m1, u, "under the new level")
	store, master, replica := m1.home(u)
	replica.end(syscall.SIGTERM)
	replica.runs = binary
	replica.serve()
	master.until(func(s status) string { return stoppedOn(s, store, replica.name) })
	deliverOne(t, master, u, "without it")
	subjects(t, master, u)
	replica.become(next, master)
	load.end()
	if len(load.acked) < 20 {
		t.Errorf("only %d messages were delivered meanwhile", len(load.acked))
	}
	load.wantAll(t)
	m1.wantEqualCopies()
}

// home is where a user lives.
func (h *host) home(u user) (store string, master, replica *host) {
	t := h.site.t
	t.Helper()
	var where struct{ Store string }
	if err := json.Unmarshal(h.must("user", "where", u.User, "--json"), &where); err != nil {
		t.Fatal(err)
	}
	h.until(func(s status) string {
		for _, st := range s.Stores {
			for _, sl := range st.Slots {
				if st.Name == where.Store && sl.Machine != st.Master {
					master, replica = h.site.hosts[st.Master], h.site.hosts[sl.Machine]
				}
			}
		}
		if master == nil || replica == nil {
			return where.Store + " has no master and replica"
		}
		return ""
	})
	return where.Store, master, replica
}

// stoppedOn says what keeps a machine's copy of a store, which has operations of the
// new level, from having stopped and said why, while all other copies serve.
func stoppedOn(s status, store, machine string) string {
	stopped := false
	for _, st := range s.Stores {
		if st.Master == "" {
			return st.Name + " has no master"
		}
		for _, sl := range st.Slots {
			switch {
			case st.Name == store && sl.Machine == machine:
				if sl.State != "failed" || !strings.Contains(sl.Reason, "newer") {
					return st.Name + " on " + machine + " is " + sl.State + ": " + sl.Reason
				}
				stopped = true
			case sl.State != "ok":
				return st.Name + " on " + sl.Machine + " is " + sl.State
			}
		}
	}
	if !stopped {
		return machine + " has no copy of " + store
	}
	return ""
}
