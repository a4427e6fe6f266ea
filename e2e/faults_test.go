package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// wholeTime is how long a wipe waits for the cluster to be whole.
const wholeTime = 90 * time.Second

// breaker breaks machines at random moments.
type breaker struct {
	c    *cluster
	rng  *rand.Rand
	done map[string]int // faults by kind
}

// faults by kind. Each leaves every machine running.
var faults = map[string]func(*breaker, context.Context) error{
	"kill": (*breaker).killOne,
	"stop": (*breaker).stopOne,
	"both": (*breaker).killBoth,
	"wipe": (*breaker).wipeOne,
}

// run breaks something of each kind, in an order drawn by the seed, and goes on
// until ctx ends. It returns when every machine runs again.
func (b *breaker) run(ctx context.Context) error {
	kinds := slices.Sorted(maps.Keys(faults))
	for i := 0; ; i++ {
		if i%len(kinds) == 0 {
			b.rng.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		}
		if !pause(ctx, b.between(300*time.Millisecond, 2*time.Second)) && i >= len(kinds) {
			return nil
		}
		kind := kinds[i%len(kinds)]
		// A fault that has begun is brought to its end even if the time is over.
		if err := faults[kind](b, context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("fault %s: %w", kind, err)
		}
		b.done[kind]++
	}
}

func (b *breaker) String() string {
	var s []string
	for _, k := range slices.Sorted(maps.Keys(b.done)) {
		s = append(s, fmt.Sprintf("%s %d", k, b.done[k]))
	}
	return strings.Join(s, ", ")
}

func (b *breaker) between(least, most time.Duration) time.Duration {
	return least + rand.N(most-least) // moments need not repeat: the machine's speed does not either
}

func (b *breaker) any() string { return b.c.Machines[b.rng.IntN(len(b.c.Machines))].Name }

func (b *breaker) killOne(ctx context.Context) error {
	m := b.any()
	if err := b.c.kill(m); err != nil {
		return err
	}
	pause(ctx, b.between(0, 5*time.Second))
	return b.c.start(ctx, m)
}

func (b *breaker) stopOne(ctx context.Context) error {
	m := b.any()
	if err := b.c.signal(m, syscall.SIGSTOP); err != nil {
		return err
	}
	pause(ctx, b.between(100*time.Millisecond, 8*time.Second))
	return b.c.signal(m, syscall.SIGCONT)
}

// killBoth kills both machines of some store. Of three machines that is also the
// majority of the coordinator.
func (b *breaker) killBoth(ctx context.Context) error {
	first := b.rng.IntN(len(b.c.Machines))
	second := (first + 1 + b.rng.IntN(len(b.c.Machines)-1)) % len(b.c.Machines)
	names := []string{b.c.Machines[first].Name, b.c.Machines[second].Name}
	for _, m := range names {
		if err := b.c.kill(m); err != nil {
			return err
		}
		if b.rng.IntN(2) == 0 {
			pause(ctx, b.between(0, time.Second))
		}
	}
	pause(ctx, b.between(0, 3*time.Second))
	b.rng.Shuffle(2, func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, m := range names {
		if err := b.c.start(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// wipeOne replaces a machine by an empty one. It waits until both copies of every
// store are in sync: only then two copies of everything acknowledged exist.
func (b *breaker) wipeOne(ctx context.Context) error {
	if err := b.c.settle(ctx, wholeTime); err != nil {
		return err
	}
	m := b.any()
	if err := b.c.kill(m); err != nil {
		return err
	}
	if err := b.c.wipe(m); err != nil {
		return err
	}
	if _, err := os.Stat(b.c.Dir + "/" + m); err == nil {
		return fmt.Errorf("%s still has a directory", m)
	}
	pause(ctx, b.between(0, 2*time.Second))
	return b.c.start(ctx, m)
}
