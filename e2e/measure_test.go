package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/bench"
)

const (
	loadRate        = 500 // deliveries a second beside the probes
	loadConnections = 8
	fillConnections = 32
	// killEvery keeps the controller from calling the store flapping, which is when
	// it lost three masters within a minute: then it gets no other until that is over.
	killEvery = 21 * time.Second
)

// measured starts a cluster for a measurement, or skips.
func measured(t *testing.T, args ...string) *cluster {
	t.Helper()
	needDev(t)
	if !*measure {
		t.Skip("a measurement; run it with -measure")
	}
	return wholeDev(t, args...)
}

// usersByStore asks who lives where.
func (c *cluster) usersByStore(ctx context.Context) (map[string][]string, error) {
	out, err := c.run(ctx, "user", "list")
	if err != nil {
		return nil, err
	}
	var users []struct{ User, Store string }
	if err := json.Unmarshal(out, &users); err != nil {
		return nil, fmt.Errorf("answer %q: %w", out, err)
	}
	by := map[string][]string{}
	for _, u := range users {
		by[u.Store] = append(by[u.Store], u.User)
	}
	return by, nil
}

func (c *cluster) routers() []string {
	var a []string
	for _, m := range c.Machines {
		a = append(a, m.LMTP)
	}
	return a
}

// fullStore fills the store with the most users and returns it with them.
func (c *cluster) fullStore(t *testing.T) (string, []string) {
	t.Helper()
	by, err := c.usersByStore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var store string
	for s, users := range by {
		if len(users) > len(by[store]) || len(users) == len(by[store]) && s < store {
			store = s
		}
	}
	r, err := bench.RunLMTP(t.Context(), bench.LMTPConfig{
		Addresses: c.routers(), Recipients: by[store], Connections: fillConnections, Messages: *measureMessages, Size: 2048,
	})
	if err != nil || r.Count() < *measureMessages*99/100 {
		t.Fatalf("fill %s: %d of %d messages, %v", store, r.Count(), *measureMessages, err)
	}
	t.Logf("%s: %d messages for %d users at %.0f/s", store, r.Count(), len(by[store]), r.Operations[0].PerSecond)
	if err := c.settle(t.Context(), settleTime); err != nil {
		t.Fatal(err)
	}
	return store, by[store]
}

// underLoad runs a probe and a steady load to the users, until the function it
// returns is called.
func (c *cluster) underLoad(t *testing.T, to []string) (*probe, func()) {
	ctx, cancel := context.WithCancel(t.Context())
	p := &probe{c: c, to: to}
	var running sync.WaitGroup
	running.Go(func() { p.run(ctx) })
	running.Go(func() {
		_, err := bench.RunLMTP(ctx, bench.LMTPConfig{
			Addresses: c.routers(), Recipients: to, Connections: loadConnections, Rate: loadRate, Duration: time.Hour,
		})
		if err != nil {
			t.Errorf("load: %v", err)
		}
	})
	return p, func() { cancel(); running.Wait() }
}

func (c *cluster) master(ctx context.Context, store string) (string, error) {
	s, err := c.status(ctx)
	if err != nil {
		return "", err
	}
	for _, st := range s.Stores {
		if st.Name == store && st.Master != "" {
			return st.Master, nil
		}
	}
	return "", fmt.Errorf("%s has no master", store)
}

// TestMeasureSwitchover measures how long a planned switch of a full store under
// load holds writes.
func TestMeasureSwitchover(t *testing.T) {
	c := measured(t)
	store, users := c.fullStore(t)
	p, stop := c.underLoad(t, users)
	defer stop()
	var held, seen []time.Duration
	for range *measureTimes {
		if _, err := p.writableAfter(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		out, err := c.run(t.Context(), "store", "switchover", store)
		if err != nil {
			t.Fatal(err)
		}
		var r struct {
			Held float64 `json:"held_ms"`
		}
		if err := json.Unmarshal(out, &r); err != nil {
			t.Fatalf("answer %q: %v", out, err)
		}
		end := time.Now()
		if _, err := p.writableAfter(t.Context(), end); err != nil {
			t.Fatal(err)
		}
		held = append(held, time.Duration(r.Held*float64(time.Millisecond)))
		seen = append(seen, p.longestGap(begin, end))
		if err := c.settle(t.Context(), settleTime); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("planned switchover, writes held by its own account: %s", spread(held))
	t.Logf("planned switchover, longest time without an acknowledged delivery: %s", spread(seen))
}

// TestMeasureKill measures the time from kill -9 of a full store's master to the
// next acknowledged delivery.
func TestMeasureKill(t *testing.T) {
	c := measured(t)
	store, users := c.fullStore(t)
	p, stop := c.underLoad(t, users)
	defer stop()
	var writable []time.Duration
	for range *measureTimes {
		victim, err := c.master(t.Context(), store)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := c.kill(victim); err != nil {
			t.Fatal(err)
		}
		took, err := p.writableAfter(t.Context(), begin)
		if err != nil {
			t.Fatal(err)
		}
		writable = append(writable, took)
		p.longestGap(time.Now(), time.Now()) // forget what was before
		if err := c.start(t.Context(), victim); err != nil {
			t.Fatal(err)
		}
		if err := c.settle(t.Context(), settleTime); err != nil {
			t.Fatal(err)
		}
		if !pause(t.Context(), time.Until(begin.Add(killEvery))) {
			t.Fatal(t.Context().Err())
		}
	}
	t.Logf("kill -9 to writable again: %s", spread(writable))
}

// TestMeasureDrain drains a machine that has many masters while mail is delivered
// to them and users log in, none of which may be refused.
func TestMeasureDrain(t *testing.T) {
	// With copies on two of three machines, one machine can be the master of two
	// thirds of the stores.
	c := measured(t, "--stores", strconv.Itoa(*measureStores*3/2))
	victim := c.Machines[0].Name
	masters := c.gather(t, victim)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running sync.WaitGroup
	var mail, logins bench.Report
	var mailErr, loginErr error
	var to []string
	var users []bench.Login
	var fronts []string
	for _, u := range c.Users {
		to = append(to, u.User)
		users = append(users, bench.Login{User: u.User, Password: u.Password})
	}
	for _, m := range c.Machines {
		fronts = append(fronts, m.IMAP)
	}
	running.Go(func() {
		mail, mailErr = bench.RunLMTP(ctx, bench.LMTPConfig{Addresses: c.routers(), Recipients: to, Connections: loadConnections, Rate: loadRate, Duration: time.Hour})
	})
	running.Go(func() {
		logins, loginErr = bench.RunIMAP(ctx, bench.IMAPConfig{Addresses: fronts, Users: users, Connections: loadConnections, Mix: bench.Mix{Login: 1}, Duration: time.Hour})
	})
	pause(ctx, 2*time.Second) // the load runs
	begin := time.Now()
	_, err := c.run(ctx, "machine", "drain", victim)
	took := time.Since(begin)
	pause(ctx, 2*time.Second) // and goes on
	cancel()
	running.Wait()
	for _, e := range []error{err, mailErr, loginErr} {
		if e != nil {
			t.Error(e)
		}
	}
	for _, r := range []bench.Report{mail, logins} {
		if r.Failed() > 0 || r.Count() == 0 {
			t.Errorf("%s: %d done, %d refused or lost: %v", r.Protocol, r.Count(), r.Failed(), r.Operations[0].Errors)
		}
	}
	t.Logf("drain of %s with %d masters: %.1f s; meanwhile %d deliveries (longest %.0f ms), %d log-ins (longest %.0f ms), none refused: %v",
		victim, masters, took.Seconds(), mail.Count(), mail.Operations[0].Latency.Max, logins.Count(), logins.Operations[0].Latency.Max, !t.Failed())
}

// gather makes the machine master of every store it has a copy of, and returns how many that are.
func (c *cluster) gather(t *testing.T, name string) int {
	t.Helper()
	s, err := c.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	masters := 0
	for _, st := range s.Stores {
		if !slices.Contains(st.InSync, name) {
			continue
		}
		masters++
		if st.Master != name {
			if _, err := c.run(t.Context(), "store", "switchover", st.Name, "--to", name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.settle(t.Context(), settleTime); err != nil {
		t.Fatal(err)
	}
	return masters
}

func spread(ds []time.Duration) string {
	ds = slices.Clone(ds)
	slices.Sort(ds)
	var all []string
	for _, d := range ds {
		all = append(all, fmt.Sprintf("%.0f", float64(d)/float64(time.Millisecond)))
	}
	return fmt.Sprintf("median %s ms of %s", all[len(all)/2], strings.Join(all, " "))
}
