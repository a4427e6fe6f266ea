package e2e

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/bench"
)

// TestMeasureMemory fills machines of many slots, and measures what a process with all roles needs
// then, what it needs after kill -9 and a start, and how long until all its slots are copies again
// that take part in their stores.
func TestMeasureMemory(t *testing.T) {
	// With copies on two of three machines, each machine has two thirds of the stores.
	stores := *measureSlots * 3 / 2
	c := measured(t, "--stores", strconv.Itoa(stores))
	perStore := *measureMessages * 3 / 2 / int64(stores)
	c.fillStores(t, stores, perStore)
	victim := c.Machines[0].Name
	held := c.slotsOf(t, victim)
	t.Logf("%d slots of %d messages each on %s: %s", held, perStore, victim, c.memory(t, victim))
	for range *measureTimes {
		if err := c.kill(victim); err != nil {
			t.Fatal(err)
		}
		if err := c.failedOver(t.Context(), victim); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := c.start(t.Context(), victim); err != nil {
			t.Fatal(err)
		}
		if err := c.settle(t.Context(), settleTime); err != nil {
			t.Fatal(err)
		}
		t.Logf("start after kill -9 to %d slots in sync again: %.1f s; %s", held, time.Since(begin).Seconds(), c.memory(t, victim))
		if !pause(t.Context(), time.Until(begin.Add(killEvery))) {
			t.Fatal(t.Context().Err())
		}
	}
}

// fillStores gives every store one user and messages for it.
func (c *cluster) fillStores(t *testing.T, stores int, each int64) {
	t.Helper()
	s, err := c.status(t.Context())
	if err != nil || len(s.Stores) != stores {
		t.Fatalf("%d stores of %d: %v", len(s.Stores), stores, err)
	}
	var to []string
	for _, st := range s.Stores {
		u := st.Name + "@example.test"
		if _, err := c.run(t.Context(), "user", "add", u, "--password", "secret", "--store", st.Name); err != nil {
			t.Fatal(err)
		}
		to = append(to, u)
	}
	all := each * int64(stores)
	r, err := bench.RunLMTP(t.Context(), bench.LMTPConfig{
		Addresses: c.routers(), Recipients: to, Connections: 8 * stores, Messages: all, Size: 2048, // so that a store's share a sync
	})
	if err != nil || r.Count() < all*99/100 {
		t.Fatalf("fill: %d of %d messages, %v", r.Count(), all, err)
	}
	t.Logf("%d messages in %d stores at %.0f/s", r.Count(), stores, r.Operations[0].PerSecond)
	if err := c.settle(t.Context(), settleTime); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) slotsOf(t *testing.T, name string) (n int) {
	t.Helper()
	s, err := c.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range s.Stores {
		for _, sl := range st.Slots {
			if sl.Machine == name {
				n++
			}
		}
	}
	return n
}

// failedOver waits until no store has a machine that was killed as its master.
func (c *cluster) failedOver(ctx context.Context, dead string) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		s, err := c.status(ctx)
		left := 0
		for _, st := range s.Stores {
			if st.Master == dead || st.Master == "" {
				left++
			}
		}
		if err == nil && left == 0 {
			return nil
		}
		if !pause(ctx, 200*time.Millisecond) {
			return fmt.Errorf("%d stores have no other master than %s: %w", left, dead, ctx.Err())
		}
	}
}

// memory says what a machine's process has in memory.
func (c *cluster) memory(t *testing.T, name string) string {
	t.Helper()
	c.mu.Lock()
	pid := c.pids[name]
	c.mu.Unlock()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("memory of a process is read from /proc: %v", err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 3 && (f[0] == "VmRSS:" || f[0] == "VmHWM:") {
			kib, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
			out = append(out, fmt.Sprintf("%s %d MiB", map[string]string{"VmRSS:": "resident", "VmHWM:": "most ever"}[f[0]], kib>>10))
		}
	}
	return strings.Join(out, ", ")
}
