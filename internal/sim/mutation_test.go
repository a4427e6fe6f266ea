package sim

import (
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/replica"
)

var mutationSeeds = flag.Uint64("sim.mutation-seeds", 400, "seeds to try for each rule switched off")

// ruleTest switches one rule off and says what that breaks. Only names the
// faults that make it likely; the rest of the run is as random as ever.
type ruleTest struct {
	rule    string
	mutate  replica.Mutation
	faults  []string
	slots   int
	minSync int
	every   time.Duration
}

var rules = []ruleTest{
	{"an epoch is one incarnation", replica.KeepEpochOnRestart, []string{"power-loss", "kill", "isolate"}, 2, 1, time.Second},
	{"an epoch is durable before it is acted in", replica.ActBeforeEpochSynced, []string{"switchover", "kill"}, 2, 1, time.Second},
	{"unknown outcomes stay required", replica.RequireRecordedOnly, []string{"break-session", "kill"}, 2, 1, time.Second},
	{"a joiner is required before it is proposed", replica.RequireAfterAnswer, []string{"kill", "power-loss"}, 2, 1, time.Second},
	{"a leaver is required until it is known to have left", replica.ShrinkBeforeKnown, []string{"isolate", "pause"}, 3, 1, time.Second},
	{"commit needs every required slot", replica.CommitAlone, []string{"switchover"}, 2, 1, time.Second},
	{"apply only what is committed", replica.ApplyBeforeCommit, []string{"break-session"}, 2, 1, time.Second},
	{"a joiner is durable past commit", replica.JoinUnchecked, []string{"kill", "pause"}, 2, 1, time.Second},
	{"a foreign tail is truncated", replica.SkipTruncate, []string{"kill", "isolate"}, 2, 1, time.Second},
	{"a failed sync is final", replica.IgnoreFailedSync, []string{"failed-sync", "power-loss"}, 2, 1, time.Second},
	{"a new master waits out the old lease", replica.SkipLeaseWait, []string{"isolate", "stray-nomination"}, 2, 1, 500 * time.Millisecond},
	{"reads need a lease", replica.ReadWithoutLease, []string{"isolate", "pause"}, 2, 1, time.Second},
	{"min-in-sync is part of the commit", replica.IgnoreMinInSync, []string{"kill", "power-loss"}, 2, 2, time.Second},
	{"an open counter is used once", replica.IgnoreCounter, []string{"kill", "disk-rolled-back"}, 2, 1, 500 * time.Millisecond},
	{"a coordinator that went back promotes nobody", replica.TrustRewound, []string{"coordinator-rewound", "kill"}, 2, 1, time.Second},
}

// violation runs seeds until one breaks an invariant.
func (r ruleTest) violation(mutate replica.Mutation) (seed uint64, err error) {
	for seed = 1; seed <= *mutationSeeds; seed++ {
		if err := r.story(seed, mutate).Err(); err != nil {
			return seed, err
		}
	}
	return 0, nil
}

func (r ruleTest) story(seed uint64, mutate replica.Mutation) *World {
	w := New(Config{
		Seed: seed, Slots: r.slots, MinInSync: r.minSync, Clients: 3, Mutate: mutate,
		FaultEvery: r.every, LateRequests: 0.2, LostAnswers: 0.3, Only: r.faults,
	})
	if err := w.Story(); err != nil && w.Err() == nil {
		w.check.fails = append(w.check.fails, err.Error()) // a panic
	}
	return w
}

func TestEachSafetyRuleIsNeeded(t *testing.T) {
	t.Parallel()
	for _, r := range rules {
		t.Run(strings.ReplaceAll(r.rule, " ", "-"), func(t *testing.T) {
			seed, err := r.violation(r.mutate)
			if err == nil {
				t.Fatalf("switched off, and %d seeds noticed nothing", *mutationSeeds)
			}
			first, _, _ := strings.Cut(err.Error(), "\n")
			t.Logf("after %d seeds: %s", seed, first)
		})
	}
}

// TestRulesHoldUnderTheSameFaults is the control: with every rule on, the runs
// above break nothing.
func TestRulesHoldUnderTheSameFaults(t *testing.T) {
	t.Parallel()
	for _, r := range rules {
		for seed := uint64(1); seed <= orFewer(8); seed++ {
			if err := r.story(seed, 0).Err(); err != nil {
				t.Errorf("%s: %v", r.rule, err)
			}
		}
	}
}
