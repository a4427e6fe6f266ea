package slot

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// panicsAt is a release that cannot make a mailbox of this name.
func panicsAt(name string) ApplyFunc {
	return func(kv state.KV, at cluster.LSN, level cluster.Level, op *operation.Operation) (state.Outcome, error) {
		if op.GetCreate().GetName() == name {
			panic("mailbox " + name)
		}
		return state.Apply(kv, at, level, op)
	}
}

var (
	otherID   = mail.AccountID{0xff}
	badCreate = mail.Request{ID: mail.OpID{Session: mail.SessionID{7}, Number: 1}, Op: mail.Create{Name: "bad"}}
)

// skip gives an operation up, as the command does.
func (w *world) skip(lsn cluster.LSN) {
	w.t.Helper()
	w.eventually(func() error {
		rec, rev, _, _ := w.Read(w.t.Context())
		rec.Skipped = append(rec.Skipped, cluster.Skip{LSN: lsn, By: "root@m1", Reason: "a test"})
		rec.Nonce = "admin"
		if ok, _, _ := w.Swap(w.t.Context(), rev, rec); !ok {
			return errors.New("the record changed meanwhile")
		}
		return nil
	})
}

// stuck waits until every slot has stopped at one operation, and names it.
func (w *world) stuck(nodes ...*node) (lsn cluster.LSN) {
	w.t.Helper()
	w.eventually(func() error {
		for i, n := range nodes {
			f := n.Status().Fault
			if f == nil || i > 0 && f.LSN != lsn {
				return fmt.Errorf("status %+v", n.Status())
			}
			lsn = f.LSN
		}
		return nil
	})
	return lsn
}

// writes waits until node i is a master that takes this change.
func (w *world) writes(i int, a mail.AccountID, name string) {
	w.t.Helper()
	n := w.node[i]
	w.eventually(func() error {
		_, err := n.Account(a).Do(w.t.Context(), mail.Request{Op: mail.Create{Name: name}})
		if err != nil && n.serving.master() == 0 {
			err = errors.Join(err, n.Nominate(replica.Nominate{}))
		}
		return err
	})
}

func (w *world) frozen(n *node, a mail.AccountID) bool {
	w.t.Helper()
	v, err := n.Account(a).View(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	defer v.Close()
	info, err := v.Account()
	if err != nil {
		w.t.Fatal(err)
	}
	return info.Frozen
}

// stopped is a store of two copies that have stopped at badCreate.
func stopped(t *testing.T) (w *world, lsn cluster.LSN) {
	t.Helper()
	w = newWorld(t, 2)
	for _, n := range w.node {
		n.cfg.Apply = panicsAt("bad")
		n.start()
	}
	n := w.lead(0)
	w.inSync()
	for _, id := range []mail.AccountID{accountID, otherID} {
		if err := n.CreateAccount(t.Context(), id.String(), 0); err != nil {
			t.Fatal(err)
		}
	}
	deliverOne(t, n, 1, "Subject: one\r\n\r\n")
	if _, err := n.Account(accountID).Do(t.Context(), badCreate); !errors.Is(err, mail.ErrUnknown) {
		t.Fatalf("the operation itself: %v", err)
	}
	return w, w.stuck(w.node...)
}

func TestSkippedOperationFreezesItsAccountAndTheStoreGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, lsn := stopped(t)
		n := w.node[0]
		if f := n.Status().Fault; f.Kind != "Create" || len(f.Accounts) != 1 || f.Accounts[0] != accountID || f.Newer || f.Reason != "panic: mailbox bad" {
			t.Errorf("fault %+v", f)
		}
		if got := contents(t, n); len(got) != 1 {
			t.Errorf("the last good view: %q", got)
		}
		if _, err := n.Account(otherID).Do(t.Context(), mail.Request{Op: mail.Create{Name: "x"}}); !errors.Is(err, mail.ErrBusy) {
			t.Errorf("a change: %v", err)
		}
		w.skip(lsn)
		w.writes(0, otherID, "x")
		if _, err := n.Account(accountID).Do(t.Context(), badCreate); !errors.Is(err, mail.ErrFrozen) {
			t.Errorf("the client asks again: %v", err)
		}
		if !w.frozen(n, accountID) || w.frozen(n, otherID) {
			t.Error("not exactly the account it named is frozen")
		}
		w.sameEverywhere()
		if got := contents(t, n); len(got) != 1 {
			t.Errorf("contents %q", got)
		}
		if err := n.Freeze(t.Context(), accountText, false, "root@m1", "looked at it"); err != nil {
			t.Fatal(err)
		}
		w.writes(0, accountID, "good")
		w.sameEverywhere()
	})
}

// TestSkipIsKnownBeforeTheJournalIsReplayed: from its beginning, by an index made
// anew, by a slot that is new, and without a coordinator.
func TestSkipIsKnownBeforeTheJournalIsReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, lsn := stopped(t)
		w.skip(lsn)
		w.writes(0, otherID, "x")
		w.sameEverywhere()
		second := w.node[1]
		second.stop()
		if err := second.cfg.FS.RemoveAll(second.cfg.FS.PathJoin(second.cfg.Meta, "index")); err != nil {
			t.Fatal(err)
		}
		second.start()
		w.sameEverywhere()
		second.stop()
		w.eventually(func() error {
			if rec, _, _, _ := w.Read(t.Context()); len(rec.InSync) != 1 {
				return fmt.Errorf("in sync: %v", rec.InSync)
			}
			return nil
		})
		w.mu.Lock()
		w.node = w.node[:1]
		w.mu.Unlock()
		cfg := inMemory(2)
		cfg.Apply = panicsAt("bad")
		w.replace(second.cfg.Slot, w.add(cfg))
		w.sameEverywhere()

		n := w.node[0]
		n.stop()
		if err := n.cfg.FS.RemoveAll(n.cfg.FS.PathJoin(n.cfg.Meta, "index")); err != nil {
			t.Fatal(err)
		}
		alone := New(n.cfg)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = alone.Run(ctx) }()
		w.eventually(func() error {
			if inc := alone.current(); inc == nil || inc.index.Applied().LSN <= lsn {
				return fmt.Errorf("status %+v", alone.Status())
			}
			return nil
		})
		cancel()
		<-ended
	})
}

// TestCopyThatAppliedASkippedOperationMakesItsIndexAnew: it did not answer when the
// operation was given up.
func TestCopyThatAppliedASkippedOperationMakesItsIndexAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, lsn := stopped(t)
		second := w.node[1]
		second.stop()
		second.cfg.Apply = nil // a release that can
		second.start()
		w.eventually(func() error {
			if at := second.Status().Applied; at <= lsn {
				return fmt.Errorf("applied %d", at)
			}
			return nil
		})
		if at := save(t, second); at <= lsn { // has the operation as well: no help
			t.Fatalf("snapshot at %d, before the operation at %d", at, lsn)
		}
		w.skip(lsn)
		w.writes(0, otherID, "x")
		w.sameEverywhere()
		if _, err := second.cfg.FS.Stat(second.cfg.FS.PathJoin(second.cfg.Meta, "index.bad")); err != nil {
			t.Errorf("the index with the operation: %v", err)
		}
	})
}

func TestSkipOfAnotherOperationHelpsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, lsn := stopped(t)
		n := w.node[0]
		before := n.Status().Incarnation
		w.skip(lsn + 1<<20)
		w.eventually(func() error { // opened again, and as a master failed again
			if st := n.Status(); st.Incarnation == before || st.State != StateFailed {
				return errors.Join(n.Nominate(replica.Nominate{}), fmt.Errorf("status %+v", st))
			}
			return nil
		})
		w.skip(lsn)
		w.writes(0, otherID, "x")
		w.sameEverywhere()
	})
}
