package agent

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// panics is a release that cannot make a mailbox "bad".
func panics(kv state.KV, at cluster.LSN, level cluster.Level, op *operation.Operation) (state.Outcome, error) {
	if op.GetCreate().GetName() == "bad" {
		panic("mailbox bad")
	}
	return state.Apply(kv, at, level, op)
}

var ann, bob = mail.AccountID{1}, mail.AccountID{2}

// create makes a mailbox in an account of the store on m1.
func (s *site) create(store cluster.Store, a mail.AccountID, name string) error {
	sl, err := s.agents["m1"].Slot(store)
	if err != nil {
		return err
	}
	_, err = sl.Account(a).Do(s.t.Context(), mail.Request{Op: mail.Create{Name: name}})
	return err
}

// fault is what the copy of s1 on m says that it failed at.
func (s *site) fault(m cluster.Machine) *slot.Fault {
	for _, x := range s.agents[m].Status().Slots {
		if x.Store == "s1" {
			return x.Fault
		}
	}
	return nil
}

// TestBadOperationStopsOneStoreUntilItIsGivenUp: on both machines, whose other
// stores go on.
func TestBadOperationStopsOneStoreUntilItIsGivenUp(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		for m, n := range s.agents {
			n.stop()
			n.apply = panics
			n.start(m)
		}
		other := newStore("s2", "m1", "m2")
		other.Slots[0].Slot, other.Slots[1].Slot = slotID(5), slotID(6)
		s.write(newStore("s1", "m1", "m2"))
		s.write(other)
		for _, store := range []cluster.Store{"s1", "s2"} {
			s.lead("m1", store)
			for _, a := range []mail.AccountID{ann, bob} {
				if err := s.agents["m2"].cfg.Remote.CreateAccount(t.Context(), "m1", store, a.String(), 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		s.within(time.Minute, func() error {
			if rec := s.read("s1"); len(rec.InSync) != 2 {
				return fmt.Errorf("in sync: %v", rec.InSync)
			}
			return nil
		})
		if err := s.create("s1", ann, "bad"); !errors.Is(err, mail.ErrUnknown) {
			t.Fatalf("the operation: %v", err)
		}
		s.within(time.Minute, func() error {
			if a, b := s.fault("m1"), s.fault("m2"); a == nil || b == nil || a.LSN != b.LSN {
				return fmt.Errorf("m1 %+v, m2 %+v", a, b)
			}
			return nil
		})
		s.agents["m1"].wantStates("s1 01 failed, s2 05 ok")
		s.agents["m2"].wantStates("s1 02 failed, s2 06 ok")
		if err := s.create("s1", bob, "x"); !errors.Is(err, mail.ErrBusy) {
			t.Errorf("a change of the store: %v", err)
		}
		if err := s.create("s2", bob, "x"); err != nil {
			t.Errorf("a change of the other store: %v", err)
		}

		rec := s.read("s1")
		rec.Skipped = []cluster.Skip{{LSN: s.fault("m1").LSN, By: "root@m1", Reason: "a test"}}
		rec.Nonce = "admin"
		s.write(rec)
		s.within(time.Minute, func() error { // it has been opened again
			if f := s.fault("m1"); f != nil {
				return fmt.Errorf("fault %+v", f)
			}
			return nil
		})
		s.lead("m1", "s1")
		if err := s.create("s1", bob, "x"); err != nil {
			t.Errorf("a change of the store: %v", err)
		}
		if err := s.create("s1", ann, "x"); !errors.Is(err, mail.ErrFrozen) {
			t.Errorf("a change of the account: %v", err)
		}
		remote := s.agents["m2"].cfg.Remote
		if err := remote.FreezeAccount(t.Context(), "m1", "s1", ann.String(), false, "root@m1", "looked at it"); err != nil {
			t.Fatal(err)
		}
		if err := s.create("s1", ann, "x"); err != nil {
			t.Errorf("a change of the thawed account: %v", err)
		}
		s.agents["m2"].wantStates("s1 02 ok, s2 06 ok")
		s.within(time.Minute, func() error {
			a, errA := remote.Digest(t.Context(), "m1", "s1", 0)
			b, errB := remote.Digest(t.Context(), "m2", "s1", 0)
			if a != b {
				return fmt.Errorf("digests %+v and %+v", a, b)
			}
			return errors.Join(errA, errB)
		})
	}, "m1", "m2")
}
