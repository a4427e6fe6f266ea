package slot

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// purgerOf is one that looks when the test says so.
func purgerOf(n *node) *purger { return &purger{incarnation: n.current()} }

// retention of worlds whose time the test sets.
const retention = 7 * 24 * time.Hour

// newDatedWorld is one whose wall clock the test sets, by a distance from now.
func newDatedWorld(t *testing.T, slots int) (*world, *atomic.Int64) {
	w := newWorld(t, slots)
	later := new(atomic.Int64)
	for _, n := range w.node {
		n.cfg.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
		n.start()
		n.SetRetention(retention)
	}
	return w, later
}

func due(t *testing.T, n *node) int {
	t.Helper()
	list, _, err := purgerOf(n).due()
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestDeletedAccountIsRemovedFromEveryCopyWhenItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, later := newDatedWorld(t, 2)
		n := w.lead(0)
		w.inSync()
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		deliverOne(t, n, 1, "Subject: x\r\n\r\n")
		if err := n.DeleteAccount(t.Context(), accountText); err != nil {
			t.Fatal(err)
		}
		p := purgerOf(n)
		exists := func() error {
			_, err := n.current().propose(t.Context(), nil, func(b *state.Builder) (*state.Proposal, error) {
				return b.CreateAccount(mail.Actor{}, accountID, state.NewAccount{})
			})
			return err
		}
		later.Store(int64(retention - time.Hour))
		if err := p.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := exists(); !errors.Is(err, mail.ErrExists) {
			t.Fatalf("before its time: %v", err)
		}
		later.Store(int64(retention + time.Hour))
		if err := purgerOf(w.node[1]).look(t.Context()); err != nil { // a replica leaves it to the master
			t.Fatal(err)
		}
		if got := due(t, n); got != 1 {
			t.Fatalf("%d accounts are due", got)
		}
		if err := p.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := due(t, n); got != 0 {
			t.Errorf("%d accounts are due after the look", got)
		}
		w.sameEverywhere()
		if err := exists(); err != nil {
			t.Errorf("its id is not free: %v", err)
		}
	})
}

func TestALookDoesABoundedPartAndTheNextGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, later := newDatedWorld(t, 1)
		n := w.lead(0)
		const accounts = purgeMost + 3
		for i := range accounts {
			id := fmt.Sprintf("%032x", i+1)
			if err := errors.Join(n.CreateAccount(t.Context(), id, 0), n.DeleteAccount(t.Context(), id)); err != nil {
				t.Fatal(err)
			}
		}
		later.Store(int64(8 * 24 * time.Hour))
		p := purgerOf(n)
		for _, want := range []int{accounts - purgeMost, 0, 0} {
			if err := p.look(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := due(t, n); got != want {
				t.Errorf("%d accounts are due after a look, want %d", got, want)
			}
		}
		if !p.after.IsZero() {
			t.Errorf("the next look begins behind %v", p.after)
		}
	})
}

func TestExpiredThingsOfAnIdleAccountAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, later := newDatedWorld(t, 1)
		n := w.lead(0)
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		a := n.Account(accountID)
		for i, op := range []mail.Op{mail.Create{Name: "x"}, mail.Delete{Name: "x"}} {
			if _, err := a.Do(t.Context(), mail.Request{ID: mail.OpID{Session: mail.SessionID{1}, Number: uint64(i + 1)}, Op: op}); err != nil {
				t.Fatal(err)
			}
		}
		later.Store(int64(8 * 24 * time.Hour))
		if got := due(t, n); got != 1 {
			t.Fatalf("%d accounts are due", got)
		}
		if err := purgerOf(n).look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := due(t, n); got != 0 {
			t.Errorf("%d accounts are due after the look", got)
		}
	})
}

func TestPurgerLooksAtEachTickUntilItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, later := newDatedWorld(t, 1)
		n := w.lead(0)
		if err := errors.Join(n.CreateAccount(t.Context(), accountText, 0), n.DeleteAccount(t.Context(), accountText)); err != nil {
			t.Fatal(err)
		}
		later.Store(int64(8 * 24 * time.Hour))
		ticks, ended := make(chan time.Time), make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { defer close(ended); purgerOf(n).run(ctx, ticks) }()
		ticks <- time.Now()
		ticks <- time.Now() // taken when the first look is over
		if got := due(t, n); got != 0 {
			t.Errorf("%d accounts are due after a tick", got)
		}
		cancel()
		<-ended
	})
}
