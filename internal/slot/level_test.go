package slot

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// newRelease supports level 2, under which everything is as under level 1.
func newRelease(cfg *Config) {
	cfg.Level = 2
	cfg.Apply = func(kv state.KV, at cluster.LSN, level cluster.Level, op *operation.Operation) (state.Outcome, error) {
		one, err := operation.Encode(op)
		if err != nil {
			return state.Outcome{}, err
		}
		copied, err := operation.Decode(one)
		if err != nil {
			return state.Outcome{}, err
		}
		copied.Level = min(copied.Level, 1)
		return state.Apply(kv, at, min(level, 1), copied)
	}
}

func oldRelease(cfg *Config) { cfg.Level, cfg.Apply = 0, nil }

// restart runs node i under another release and makes it, or leaves it, what it was.
func (w *world) restart(i int, release func(*Config)) *node {
	w.t.Helper()
	n := w.node[i]
	n.stop()
	release(&n.cfg)
	n.start()
	return n
}

// needsNewer waits until n has stopped because it is too old.
func (w *world) needsNewer(n *node) {
	w.t.Helper()
	w.eventually(func() error {
		if st := n.Status(); st.State != StateFailed || st.Fault == nil || !st.Fault.Newer {
			return fmt.Errorf("status %+v", st)
		}
		return nil
	})
}

func TestUpgradeCanBeTakenBackUntilItIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		for _, n := range w.node {
			n.start()
		}
		n := w.lead(0)
		w.inSync()
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		level := func() (highest cluster.Level) {
			t.Helper()
			for b, err := range w.node[0].current().journal.Batches(0, 1<<20) {
				if err != nil {
					t.Fatal(err)
				}
				for _, rec := range b.Records() {
					highest = max(highest, rec.Level)
				}
			}
			return highest
		}

		w.restart(1, newRelease)
		w.writes(0, accountID, "a")
		w.sameEverywhere()
		w.restart(0, newRelease)
		w.writes(0, accountID, "b")
		w.restart(1, oldRelease) // and back
		w.writes(0, accountID, "c")
		w.sameEverywhere()
		if l := level(); l != 1 {
			t.Errorf("level %d before the upgrade is finished", l)
		}

		w.restart(1, newRelease)
		w.sameEverywhere()
		for _, n := range w.node {
			n.RaiseLevel(2)
			n.RaiseLevel(1) // never falls
		}
		w.writes(0, accountID, "d")
		w.sameEverywhere()
		if l := level(); l != 2 {
			t.Errorf("level %d after the upgrade was finished", l)
		}
		old := w.restart(1, oldRelease) // its state was made under level 2
		w.needsNewer(old)
		w.restart(1, newRelease)
		w.sameEverywhere()
	})
}

// TestOldReleaseStopsAtANewerRecord: of a level, or of a kind, that it does not know.
func TestOldReleaseStopsAtANewerRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		newRelease(&w.node[0].cfg)
		for _, n := range w.node {
			n.start()
		}
		n := w.lead(0)
		w.inSync()
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		w.sameEverywhere()
		n.RaiseLevel(2)
		if _, err := n.Account(accountID).Do(t.Context(), mail.Request{Op: mail.Create{Name: "x"}}); err != nil {
			t.Fatal(err)
		}
		old := w.node[1]
		w.needsNewer(old)
		if st := old.Status(); st.Fault.LSN == 0 || st.Applied > st.Fault.LSN {
			t.Errorf("it went on: %+v", st)
		}
		w.restart(1, newRelease)
		w.sameEverywhere()

		unknown := &work{applier: &applier{incarnation: &incarnation{cfg: &Config{Level: 1}}}}
		for kind := range journal.Kind(255) {
			err := unknown.understands(journal.Record{Kind: kind, Level: 1})
			if known := kind >= journal.KindBodyChunk && kind <= journal.KindStoreRecord; (err == nil) != known || err != nil && !errors.Is(err, cluster.ErrNewer) {
				t.Errorf("record of %v: %v", kind, err)
			}
		}
	})
}

// TestDerivedDataOfTwoParsersIsInNoDigest: the copies keep what their releases made
// of the same messages.
func TestDerivedDataOfTwoParsersIsInNoDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		for _, n := range w.node {
			n.start()
		}
		n := w.lead(0)
		w.inSync()
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		w.writes(0, accountID, "a")
		w.sameEverywhere()
		before, err := n.Digest(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		message := mail.EmailID{1}
		for i, n := range w.node {
			version := uint32(i + 1)
			n.Account(accountID).SetDerived(message, version, []byte{byte(i)})
			if got := n.Account(accountID).Derived(version, message); len(got) != 1 || !bytes.Equal(got[0], []byte{byte(i)}) {
				t.Errorf("copy %d keeps %v", i, got)
			}
		}
		for i, n := range w.node {
			if after, err := n.Digest(t.Context(), before.LSN); err != nil || after.Sum != before.Sum {
				t.Errorf("copy %d: %+v, %v\nwant %+v", i, after, err, before)
			}
		}
		w.sameEverywhere()
	})
}
