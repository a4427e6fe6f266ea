package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandemail/tandemail/e2e/ledger"
)

const (
	couriers   = 32
	writers    = 8
	settleTime = 3 * time.Minute
	shortTime  = 12 * time.Second // of the round that every test run does
	shortCount = 10_000           // deliveries of that round at most
	maxShown   = 20               // violations shown
)

// TestLedger delivers and changes mail while machines are killed, stopped and
// wiped, and holds the cluster to every word it said.
func TestLedger(t *testing.T) {
	needDev(t)
	rounds, load, count := *ledgerRounds, *ledgerTime, *ledgerDeliveries
	if rounds == 0 {
		rounds, load, count = 1, shortTime, shortCount
	}
	seed := *ledgerSeed
	for seed == 0 {
		seed = rand.Uint64() >> 40
	}
	for i := range rounds {
		t.Run(fmt.Sprintf("seed=%d", seed+uint64(i)), func(t *testing.T) {
			runRound(t, seed+uint64(i), load, count)
		})
	}
}

func runRound(t *testing.T, seed uint64, load time.Duration, count int64) {
	dir, err := os.MkdirTemp("", "tml-") // short: a socket lives in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the cluster has stopped
		if t.Failed() {
			t.Logf("kept %s and %s.log; repeat with -ledger.seed=%d", dir, dir, seed)
			return
		}
		os.RemoveAll(dir)
		os.Remove(dir + ".log")
	})
	r := &round{c: startDev(t, dir), rec: &ledger.Recorder{}, seed: seed}
	if err := r.prepare(t.Context()); err != nil {
		t.Fatalf("prepare: %v", err)
	}
	broken, err := r.load(t.Context(), load, count)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := r.c.settle(t.Context(), settleTime); err != nil {
		t.Fatal(err)
	}
	settled := time.Since(begin)
	if err := r.c.compareCopies(t.Context(), settleTime); err != nil {
		t.Error(err)
	}
	if err := r.readBack(t.Context()); err != nil {
		t.Fatalf("read back: %v", err)
	}
	r.judge(t, broken, settled)
}

// round is one run of the ledger test.
type round struct {
	c    *cluster
	rec  *ledger.Recorder
	seed uint64
}

func (r *round) rng(stream int) *rand.Rand { return rand.New(rand.NewPCG(r.seed, uint64(stream))) }

func (r *round) writers() []user { return r.c.Users[len(r.c.Users)-min(writers, len(r.c.Users)):] }

// prepare takes down what is there already and makes the writers' mailboxes.
func (r *round) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if err := r.c.settle(ctx, settleTime); err != nil {
		return err
	}
	for i, u := range r.c.Users {
		if err := r.noteSamples(ctx, u, r.rng(1000+i)); err != nil {
			return err
		}
	}
	for i, u := range r.writers() {
		if err := newWriter(r.c, r.rec, r.rng(2000+i), u).create(ctx); err != nil {
			return err
		}
	}
	return nil
}

// noteSamples records the mail a user has as delivered.
func (r *round) noteSamples(ctx context.Context, u user, rng *rand.Rand) error {
	s, err := r.c.loginAnywhere(ctx, rng, u)
	if err != nil {
		return err
	}
	defer s.Close()
	o, err := s.look(u, ledger.Inbox, headers)
	if err != nil {
		return err
	}
	for _, m := range o.Messages {
		r.rec.End(r.rec.Begin(), ledger.Acked, ledger.Deliver{User: u.User, Token: m.Token})
	}
	return nil
}

// load changes mail and breaks machines for the given time, and says what was broken.
func (r *round) load(ctx context.Context, d time.Duration, count int64) (string, error) {
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	var clients sync.WaitGroup
	var left atomic.Int64
	left.Store(count)
	for n := range couriers {
		k := &courier{c: r.c, rec: r.rec, rng: r.rng(n), n: n, left: &left}
		clients.Go(func() { k.run(work) })
	}
	for n, u := range r.writers() {
		w := newWriter(r.c, r.rec, r.rng(100+n), u)
		clients.Go(func() { w.run(work) })
	}
	breaking, stop := context.WithTimeout(ctx, d)
	defer stop()
	b := &breaker{c: r.c, rng: r.rng(200), done: map[string]int{}}
	err := b.run(breaking)
	cancel()
	clients.Wait()
	return b.String(), err
}

// readBack reads every octet of every mailbox.
func (r *round) readBack(ctx context.Context) error {
	boxes := map[string][]string{}
	for _, u := range r.writers() {
		boxes[u.User] = []string{boxA, boxB}
	}
	for i, u := range r.c.Users {
		s, err := login(ctx, r.c.Machines[i%len(r.c.Machines)].IMAP, u)
		if err != nil {
			return err
		}
		for _, name := range append(boxes[u.User], ledger.Inbox) {
			begin := r.rec.Begin()
			o, err := s.look(u, name, octets)
			if err != nil {
				return fmt.Errorf("%s: %w", u.User, err)
			}
			r.rec.End(begin, ledger.Acked, o)
		}
		s.Close()
	}
	return nil
}

// judge checks the history and prints the round's line.
func (r *round) judge(t *testing.T, broken string, settled time.Duration) {
	t.Helper()
	history := r.rec.History()
	found := ledger.Check(history)
	for i, v := range found {
		if i == maxShown {
			t.Errorf("and %d more", len(found)-maxShown)
			break
		}
		t.Error(v)
	}
	s := ledger.Summarize(history)
	for kind, n := range s.Acked {
		if n == 0 {
			t.Errorf("no %s was acknowledged: the round proves nothing about it", kind)
		}
	}
	t.Logf("seed %d: deliveries %s, %d doubled by a retry; changes %s; %d looks; broken: %s; whole again after %.1f s; %d violations",
		r.seed, outcomes(s.Deliveries), s.Doubled, outcomes(s.Changes), s.Looks, broken, settled.Seconds(), len(found))
}

func outcomes(n [3]int) string {
	return strings.Join([]string{
		fmt.Sprint(n[ledger.Acked], " acknowledged"), fmt.Sprint(n[ledger.Refused], " refused"), fmt.Sprint(n[ledger.Unknown], " without answer"),
	}, ", ")
}
