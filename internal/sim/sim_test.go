package sim

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"testing"
)

var (
	oneSeed  = flag.Uint64("sim.seed", 0, "run this seed only")
	seeds    = flag.Uint64("sim.seeds", 0, "number of seeds to run; 0 is 500, with -short 50")
	showing  = flag.Bool("sim.trace", false, "print every event")
	fromSeed = flag.Uint64("sim.from", 1, "first seed")
)

// orFewer is n, or a tenth of it with -short: the race detector slows a world that
// has one goroutine down tenfold, and finds nothing in the second that it did not
// find in the first.
func orFewer(n uint64) uint64 {
	if testing.Short() {
		return (n + 9) / 10
	}
	return n
}

// story runs one seed and fails with its last events.
func story(t *testing.T, cfg Config) *World {
	t.Helper()
	if *showing {
		cfg.Trace = func(s string) { t.Log(s) }
	}
	w := New(cfg)
	if err := w.Story(); err != nil {
		t.Errorf("%v\nagain with: go test ./internal/sim -run TestSeeds -sim.seed=%d -sim.trace\n%s", err, cfg.Seed, w.Tail())
	}
	return w
}

func TestASeedIsAWholeRun(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= orFewer(5); seed++ {
		var runs [2]string
		for i := range runs {
			h := sha256.New()
			cfg := RandomConfig(seed)
			cfg.Trace = func(s string) { h.Write([]byte(s)) }
			if err := New(cfg).Story(); err != nil {
				t.Fatal(err)
			}
			runs[i] = hex.EncodeToString(h.Sum(nil))
		}
		if runs[0] != runs[1] {
			t.Errorf("seed %d: two runs differ", seed)
		}
	}
}

func TestSeeds(t *testing.T) {
	t.Parallel()
	if *oneSeed != 0 {
		story(t, RandomConfig(*oneSeed))
		return
	}
	n := cmp.Or(*seeds, orFewer(500))
	var events, acks, appoints, reads, forced int
	for seed := *fromSeed; seed < *fromSeed+n; seed++ {
		w := story(t, RandomConfig(seed))
		events, acks, appoints, reads = events+w.events, acks+w.acks, appoints+w.check.appoints, reads+w.check.reads
		if w.check.forced.epoch != 0 {
			forced++
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d seeds, %d of them with a forced failover: %d events, %d acknowledged operations, %d epochs, %d reads",
		n, forced, events, acks, appoints, reads)
	if acks == 0 || appoints == 0 || reads == 0 || forced == 0 && n >= 100 {
		t.Error("nothing happened")
	}
}
