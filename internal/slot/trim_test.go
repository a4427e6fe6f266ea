package slot

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

func TestJournalIsTrimmedToWhatNobodyNeeds(t *testing.T) {
	const mib = 1 << 20
	ago := func(d time.Duration) time.Duration { return 10*time.Hour - d }
	for name, c := range map[string]struct {
		t    trimming
		want cluster.LSN
	}{
		"no snapshot":                       {trimming{settled: 900 * mib}, 0},
		"nothing known of bodies":           {trimming{saved: 900 * mib}, 0},
		"less than the reach":               {trimming{settled: 200 * mib, saved: 900 * mib}, 0},
		"bodies":                            {trimming{settled: 500 * mib, saved: 900 * mib}, 244 * mib},
		"the index":                         {trimming{settled: 900 * mib, saved: 300 * mib}, 44 * mib},
		"a copy that follows":               {trimming{settled: 900 * mib, saved: 900 * mib, others: []followed{{1000 * mib, ago(0)}, {100 * mib, ago(time.Second)}}}, 100 * mib},
		"a copy that is level":              {trimming{settled: 900 * mib, saved: 900 * mib, others: []followed{{1000 * mib, ago(0)}}}, 644 * mib},
		"a copy that has just gone":         {trimming{settled: 900 * mib, saved: 900 * mib, others: []followed{{100 * mib, ago(59 * time.Minute)}}}, 100 * mib},
		"a copy that is gone":               {trimming{settled: 900 * mib, saved: 900 * mib, others: []followed{{100 * mib, ago(time.Hour)}}}, 644 * mib},
		"a copy that is very far behind":    {trimming{end: 5000 * mib, settled: 4900 * mib, saved: 4900 * mib, others: []followed{{100 * mib, ago(0)}}}, 2952 * mib},
		"all that follow, the last of them": {trimming{settled: 900 * mib, saved: 900 * mib, others: []followed{{300 * mib, ago(0)}, {200 * mib, ago(0)}, {10, ago(2 * time.Hour)}}}, 200 * mib},
	} {
		c.t.reach, c.t.wait, c.t.now, c.t.end = trimReach, trimWait, ago(0), max(c.t.end, 1000*mib)
		if got := c.t.to(); got != c.want {
			t.Errorf("%s: to %d MiB, want %d", name, got/mib, c.want/mib)
		}
	}
}

func TestBodiesMoveInALullOrWhenTheDebtIsTooHigh(t *testing.T) {
	const segment = 64 << 20
	l := lull{}
	for i, c := range []struct {
		end  cluster.LSN
		debt int64
		want bool
	}{
		{10 << 20, segment, false}, // it grew by that
		{10<<20 + 1000, segment, true},
		{10<<20 + 1000, 0, false},
		{20 << 20, 7 * segment, false},
		{30 << 20, 8 * segment, true},
		{1 << 20, segment, true}, // cut off
	} {
		if got := l.now(c.end, c.debt, segment); got != c.want {
			t.Errorf("look %d: %v", i, got)
		}
	}
}

// trimmedWorld is a store whose slots move, save and trim all the time, in tiny segments.
func trimmedWorld(t testing.TB, slots int) *world {
	w := newWorld(t, slots)
	for _, n := range w.node {
		n.trimSoon()
		n.start()
	}
	w.lead(0)
	if slots > 1 {
		w.inSync()
	}
	if err := w.node[0].CreateAccount(t.Context(), accountText, 0); err != nil {
		t.Fatal(err)
	}
	return w
}

func (n *node) trimSoon() {
	n.cfg.SegmentSize = 32 << 10
	n.cfg.Hurry = Hurry{Move: 3 * time.Millisecond, Collect: 50 * time.Millisecond, AnyTurn: true, Reach: 64 << 10, Save: 3 * time.Millisecond, Wait: 300 * time.Millisecond}
}

// trimmed delivers until the node's journal begins after lsn.
func (n *node) trimmed(t testing.TB, lsn cluster.LSN) {
	t.Helper()
	w := n.world
	w.eventually(func() error {
		w.sent++
		deliverText(t, n, w.sent, text(w.sent, 8000))
		if low := n.Status().Low; low <= lsn {
			return fmt.Errorf("the journal begins at %d: %+v", low, n.Status())
		}
		return nil
	})
}

func TestEveryCopyTrimsItsJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := trimmedWorld(t, 2)
		n := w.node[0]
		n.trimmed(t, 0)
		w.eventually(func() error {
			for _, n := range w.node {
				st := n.Status()
				if held := st.End - st.Low; st.Low == 0 || held > 512<<10 {
					return fmt.Errorf("%s has %d octets of %d from %d on", st.Slot, held, st.End, st.Low)
				}
			}
			return nil
		})
		w.sameEverywhere()
		want := contents(t, n)
		n.stop()
		w.lead(1)
		if got := contents(t, w.node[1]); len(got) != len(want) {
			t.Errorf("%d messages, want %d", len(got), len(want))
		}
	})
}
