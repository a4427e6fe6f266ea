package controller

import (
	"cmp"
	"fmt"
	"time"
)

// Timing holds the controller's durations; zero values mean the defaults.
type Timing struct {
	ProbeEvery   time.Duration // 250 ms
	ProbeTimeout time.Duration // 200 ms
	RefusedAfter time.Duration // 500 ms
	SilentAfter  time.Duration // 1 s
	Tick         time.Duration // between two looks at an agent; 1 s
	AlertTick    time.Duration // the same while something is wrong; 250 ms
	StatusTime   time.Duration // an agent may take; 500 ms
	StatusFresh  time.Duration // its answer counts; 2 s
	NominateTime time.Duration // an agent may take to accept a nomination; 2 s
	ActionTime   time.Duration // and anything else; 30 s
	ElectionTTL  time.Duration // 2 s
	Target       time.Duration // from a machine's death to the nomination; 2.5 s
}

func (t Timing) withDefaults() Timing {
	t.ProbeEvery = cmp.Or(t.ProbeEvery, 250*time.Millisecond)
	t.ProbeTimeout = cmp.Or(t.ProbeTimeout, 200*time.Millisecond)
	t.RefusedAfter = cmp.Or(t.RefusedAfter, 500*time.Millisecond)
	t.SilentAfter = cmp.Or(t.SilentAfter, time.Second)
	t.Tick = cmp.Or(t.Tick, time.Second)
	t.AlertTick = cmp.Or(t.AlertTick, 250*time.Millisecond)
	t.StatusTime = cmp.Or(t.StatusTime, 500*time.Millisecond)
	t.StatusFresh = cmp.Or(t.StatusFresh, 2*time.Second)
	t.NominateTime = cmp.Or(t.NominateTime, 2*time.Second)
	t.ActionTime = cmp.Or(t.ActionTime, 30*time.Second)
	t.ElectionTTL = cmp.Or(t.ElectionTTL, 2*time.Second)
	t.Target = cmp.Or(t.Target, 2500*time.Millisecond)
	return t
}

// Check reports which of the inequalities in the package's doc does not hold.
func (t Timing) Check() error {
	t = t.withDefaults()
	for _, rule := range []struct {
		less, more time.Duration
		text       string
	}{
		{t.ProbeTimeout, t.ProbeEvery, "ProbeTimeout <= ProbeEvery"},
		{2 * t.ProbeEvery, t.RefusedAfter, "2 ProbeEvery <= RefusedAfter"},
		{t.RefusedAfter, t.SilentAfter, "RefusedAfter <= SilentAfter"},
		{3 * t.ProbeEvery, t.SilentAfter, "3 ProbeEvery <= SilentAfter"},
		{t.AlertTick, t.Tick, "AlertTick <= Tick"},
		{t.Tick + t.StatusTime, t.StatusFresh, "Tick + StatusTime <= StatusFresh"},
		{t.SilentAfter + 1, t.ElectionTTL, "SilentAfter < ElectionTTL"},
		{t.worstKill(), t.Target, "2 ProbeEvery + RefusedAfter <= Target"},
		{t.worstSilence(), t.Target, "2 ProbeEvery + SilentAfter + ProbeTimeout <= Target"},
		// The second observer must be heard while the probe makes up its mind.
		{t.AlertTick + t.StatusTime, t.Target - t.SilentAfter, "SilentAfter + AlertTick + StatusTime <= Target"},
	} {
		if rule.less > rule.more {
			return fmt.Errorf("controller timing: %s does not hold: %v > %v", rule.text, rule.less, rule.more)
		}
	}
	return nil
}

func (t Timing) worstKill() time.Duration { return 2*t.ProbeEvery + t.RefusedAfter }

func (t Timing) worstSilence() time.Duration {
	return 2*t.ProbeEvery + t.SilentAfter + t.ProbeTimeout
}
