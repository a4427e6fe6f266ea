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
	// first is the seed that shows it at present; the search goes on from there
	// when the protocol's timing has changed what seeds mean. 0: the first.
	first uint64
}

var rules = []ruleTest{
	{"an epoch is one incarnation", replica.KeepEpochOnRestart, []string{"power-loss", "kill", "isolate"}, 2, 1, time.Second, 0},
	{"an epoch is durable before it is acted in", replica.ActBeforeEpochSynced, []string{"switchover", "kill"}, 2, 1, time.Second, 0},
	{"unknown outcomes stay required", replica.RequireRecordedOnly, []string{"break-session", "kill"}, 2, 1, time.Second, 9},
	{"a joiner is required before it is proposed", replica.RequireAfterAnswer, []string{"kill", "power-loss"}, 2, 1, time.Second, 4},
	{"a leaver is required until it is known to have left", replica.ShrinkBeforeKnown, []string{"isolate", "pause"}, 3, 1, time.Second, 0},
	{"commit needs every required slot", replica.CommitAlone, []string{"switchover"}, 2, 1, time.Second, 0},
	{"apply only what is committed", replica.ApplyBeforeCommit, []string{"break-session"}, 2, 1, time.Second, 0},
	{"a joiner is durable past commit", replica.JoinUnchecked, []string{"kill", "pause"}, 2, 1, time.Second, 0},
	{"a foreign tail is truncated", replica.SkipTruncate, []string{"kill", "isolate"}, 2, 1, time.Second, 118},
	{"a failed sync is final", replica.IgnoreFailedSync, []string{"failed-sync", "power-loss"}, 2, 1, time.Second, 0},
	{"a new master waits out the old lease", replica.SkipLeaseWait, []string{"isolate", "stray-nomination"}, 2, 1, 500 * time.Millisecond, 18},
	{"reads need a lease", replica.ReadWithoutLease, []string{"isolate", "pause"}, 2, 1, time.Second, 0},
	{"min-in-sync is part of the commit", replica.IgnoreMinInSync, []string{"kill", "power-loss"}, 2, 2, time.Second, 0},
	{"an open counter is used once", replica.IgnoreCounter, []string{"kill", "disk-rolled-back"}, 2, 1, 500 * time.Millisecond, 0},
	{"a coordinator that went back promotes nobody", replica.TrustRewound, []string{"coordinator-rewound", "kill"}, 2, 1, time.Second, 0},
	{"a forced epoch is forced until it serves", replica.ForgetForced, []string{"forced-failover", "power-loss", "power-loss-in-write"}, 3, 1, 500 * time.Millisecond, 9},
	{"a forced master has no older tail of its own", replica.KeepStaleTail, []string{"forced-failover", "isolate", "kill"}, 3, 1, 500 * time.Millisecond, 62},
	{"a forced master waits out the old one", replica.SkipForcedWait, []string{"forced-failover"}, 2, 1, 2 * time.Second, 0},
	{"a lone master is confirmed", replica.AloneForEver, []string{"forced-failover"}, 2, 1, 2 * time.Second, 0},
	{"nothing below commit is truncated", replica.TruncateBelowCommit, []string{"forced-failover", "kill", "disk-rolled-back"}, 3, 1, 500 * time.Millisecond, 0},
	{"a fork goes beyond those of other histories", replica.ForkUncounted, []string{"forced-failover", "isolate"}, 3, 1, 500 * time.Millisecond, 20},
}

// violation runs seeds until one breaks an invariant.
func (r ruleTest) violation(mutate replica.Mutation) error {
	for seed := max(r.first, 1); seed < r.first+*mutationSeeds; seed++ {
		if err := r.story(seed, mutate).Err(); err != nil {
			return err
		}
	}
	return nil
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
			err := r.violation(r.mutate)
			if err == nil {
				t.Fatalf("switched off, and %d seeds noticed nothing", *mutationSeeds)
			}
			first, _, _ := strings.Cut(err.Error(), "\n")
			t.Log(first)
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
