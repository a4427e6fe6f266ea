package slot

import (
	"context"
	"errors"
	"fmt"
	"iter"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

func waiting(size int) *proposal {
	p := newProposal(0, 1)
	p.size = size
	return p
}

func answer(t *testing.T, p *proposal) error {
	t.Helper()
	select {
	case o := <-p.done:
		return o.err
	default:
		t.Fatal("not answered")
		return nil
	}
}

func TestQueueAnswersEverybodyItLetsGo(t *testing.T) {
	q := newQueue()
	if err := q.put(waiting(1)); !errors.Is(err, mail.ErrMoved) {
		t.Errorf("before this slot serves: %v", err)
	}
	q.open()
	a, b, c := waiting(10), waiting(10), waiting(10)
	for _, p := range []*proposal{a, b} {
		if err := q.put(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.put(waiting(maxWaitingBytes)); !errors.Is(err, mail.ErrBusy) {
		t.Errorf("beyond the bound: %v", err)
	}
	q.tick(1)
	if err := q.put(c); err != nil {
		t.Fatal(err)
	}
	q.tick(1)
	for _, p := range []*proposal{a, b} {
		if err := answer(t, p); !errors.Is(err, mail.ErrBusy) {
			t.Errorf("held too long: %v", err)
		}
	}
	q.shut(mail.ErrMoved)
	if err := answer(t, c); !errors.Is(err, mail.ErrMoved) {
		t.Errorf("when the master goes: %v", err)
	}
	if n, octets := q.waits(); n != 0 || octets != 0 {
		t.Errorf("%d proposals, %d octets are left", n, octets)
	}
}

func TestGivingUpTakesAProposalBackUnlessItWasTaken(t *testing.T) {
	q := newQueue()
	q.open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a, b := waiting(1), waiting(1)
	for _, p := range []*proposal{a, b} {
		if err := q.put(p); err != nil {
			t.Fatal(err)
		}
	}
	if got := q.take(nil, 1); len(got) != 1 || got[0] != a {
		t.Fatalf("took %v", got)
	}
	if _, err := a.await(ctx, q); !errors.Is(err, mail.ErrUnknown) {
		t.Errorf("in the journal, perhaps: %v", err)
	}
	if _, err := b.await(ctx, q); !errors.Is(err, mail.ErrBusy) || len(q.items) != 0 {
		t.Errorf("still in the queue: %v, %d left", err, len(q.items))
	}
}

func TestViewDoesNotHoldASlotOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.node[0].start()
		n := w.lead(0)
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		deliverOne(t, n, 1, "Subject: one\r\n\r\nbody\r\n")
		v, err := n.Account(accountID).View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		inbox, err := v.Lookup("inbox")
		if err != nil {
			t.Fatal(err)
		}
		n.endsInside(t, v.Messages(inbox.ID, 1, 10), func(msg mail.Message) {
			c, err := v.Open(t.Context(), msg)
			if err != nil {
				t.Fatal(err)
			}
			n.stop() // in the middle of a sequence; would hang
			if _, err := c.ReadAt(make([]byte, 30), 0); !errors.Is(err, mail.ErrMoved) {
				t.Errorf("content after the end: %v", err)
			}
		})
		if _, err := v.Lookup("inbox"); !errors.Is(err, mail.ErrMoved) {
			t.Errorf("look up after the end: %v", err)
		}
		for _, err := range v.Flags(inbox.ID, 1, 10, 0) {
			if !errors.Is(err, mail.ErrMoved) {
				t.Errorf("flags after the end: %v", err)
			}
		}
		v.Close()
		if _, err := n.Account(accountID).View(t.Context()); !errors.Is(err, mail.ErrMoved) {
			t.Errorf("new view: %v", err)
		}
		if _, err := n.Account(accountID).Do(t.Context(), mail.Request{Op: mail.Create{Name: "x"}}); !errors.Is(err, mail.ErrMoved) {
			t.Errorf("operation: %v", err)
		}
	})
}

// endsInside does f with the first element; the sequence must not end well then.
func (n *node) endsInside(t *testing.T, seq iter.Seq2[mail.Message, error], f func(mail.Message)) {
	t.Helper()
	var ended error
	for msg, err := range seq {
		if ended = err; err == nil {
			f(msg)
		}
	}
	if !errors.Is(ended, mail.ErrMoved) {
		t.Errorf("sequence after the end: %v", ended)
	}
}

func TestFullDiskRefusesNewOctetsOnly(t *testing.T) {
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
		deliverOne(t, n, 1, "Subject: one\r\n\r\n")
		acct := n.Account(accountID)
		v, err := acct.View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		inbox, err := v.Lookup("inbox")
		if err != nil {
			t.Fatal(err)
		}
		body, err := acct.Stage(t.Context(), strings.NewReader("Subject: two\r\n\r\n"), 1000)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		once := mail.Request{ID: mail.OpID{Session: mail.SessionID{7}, Number: 1}, Op: mail.Append{Mailbox: inbox.ID, Messages: []mail.NewMessage{{Body: body}}}}
		first, err := acct.Do(t.Context(), once)
		if err != nil {
			t.Fatal(err)
		}
		replicaDisk := w.node[1] // the copy's disk counts as the master's
		replicaDisk.used.Store(95)
		if err := replicaDisk.cfg.Disk.Refresh(); err != nil {
			t.Fatal(err)
		}
		one := mail.UIDSet{{Lo: 1, Hi: 1}}
		w.eventually(func() error {
			_, err := acct.Do(t.Context(), mail.Request{Op: mail.Copy{From: inbox.ID, UIDs: one, To: inbox.ID}})
			if !errors.Is(err, mail.ErrFull) {
				return fmt.Errorf("copy: %v", err)
			}
			return nil
		})
		fresh := once
		fresh.ID.Number = 2
		if _, err := acct.Do(t.Context(), fresh); !errors.Is(err, mail.ErrFull) {
			t.Errorf("append: %v", err)
		}
		if again, err := acct.Do(t.Context(), once); err != nil || again.UIDs.String() != first.UIDs.String() {
			t.Errorf("append that was done before: %v, %v", again, err)
		}
		_, err = n.Deliver(t.Context(), Delivery{Transaction: mail.TransactionID{9}, Octets: []byte("a"), Recipients: []state.Recipient{{Account: accountID}}})
		if !errors.Is(err, mail.ErrFull) {
			t.Errorf("deliver: %v", err)
		}
		deliverOne(t, n, 1, "Subject: one\r\n\r\n") // the same transaction again
		for _, op := range []mail.Op{
			mail.Store{Mailbox: inbox.ID, UIDs: one, Mode: mail.AddFlags, Flags: mail.Deleted},
			mail.Expunge{Mailbox: inbox.ID, UIDs: one},
		} {
			if _, err := acct.Do(t.Context(), mail.Request{Op: op}); err != nil {
				t.Errorf("%T: %v", op, err)
			}
		}
		replicaDisk.used.Store(10)
		if err := replicaDisk.cfg.Disk.Refresh(); err != nil {
			t.Fatal(err)
		}
		w.eventually(func() error {
			_, err := acct.Do(t.Context(), fresh)
			return err
		})
	})
}

// poison is an operation that this release cannot apply.
func poison(t *testing.T, n *node) *proposal {
	t.Helper()
	op := &operation.Operation{Level: 1, Account: accountID[:]}
	p := newProposal(0, 1)
	p.op = op
	p.records = append(p.records, journal.Record{Kind: journal.KindOperation, Level: cluster.CurrentLevel, Payload: []byte{0xff}})
	if err := n.current().put(p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestBadOperationLeavesAMasterThatShowsWhatItHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.node[0].start()
		n := w.lead(0)
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		deliverOne(t, n, 1, "Subject: one\r\n\r\n")
		p := poison(t, n)
		if _, err := p.await(t.Context(), n.current().queue); !errors.Is(err, mail.ErrUnknown) {
			t.Errorf("the operation itself: %v", err)
		}
		w.eventually(func() error {
			if st := n.Status(); st.State != StateFailed || !st.Serving {
				return fmt.Errorf("status %+v", st)
			}
			return nil
		})
		if got := contents(t, n); len(got) != 1 {
			t.Errorf("contents %q", got)
		}
		if err := n.CreateAccount(t.Context(), "ff"+accountText[2:], 0); !errors.Is(err, mail.ErrBusy) {
			t.Errorf("write: %v", err)
		}
	})
}

func TestBadOperationFailsAReplicaAlone(t *testing.T) {
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
		poison(t, n)
		w.eventually(func() error {
			if st := w.node[1].Status(); st.State != StateFailed || st.Serving {
				return fmt.Errorf("status %+v", st)
			}
			return nil
		})
		if n.Status().Role != replica.RoleMaster.String() {
			t.Errorf("master: %+v", n.Status())
		}
	})
}

func TestQuarantineAfterDyingTwiceAtOnePlace(t *testing.T) {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/meta", 0o700); err != nil {
		t.Fatal(err)
	}
	attempt := func(lsn cluster.LSN) error {
		r, err := newReplay(fs, "/meta", 1000)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.before(lsn - 50); err != nil { // an operation that does no harm
			t.Error(err)
		}
		if alone, err := r.goesOn(lsn); !alone || err != nil {
			t.Errorf("batch at %d is not applied alone: %v", lsn, err)
		}
		return r.before(lsn) // and the process dies
	}
	for i, c := range []struct {
		lsn         cluster.LSN
		quarantined bool
	}{{100, false}, {200, false}, {200, false}, {200, true}, {200, true}} {
		if err := attempt(c.lsn); errors.Is(err, errQuarantined) != c.quarantined {
			t.Errorf("attempt %d at %d: %v", i, c.lsn, err)
		}
	}
	r, err := newReplay(fs, "/meta", 200)
	if err != nil {
		t.Fatal(err)
	}
	if alone, err := r.goesOn(200); alone || err != nil {
		t.Errorf("after the replay: alone %v, %v", alone, err)
	}
	if list, err := fs.List("/meta"); err != nil || len(list) != 0 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

func TestQuarantinedSlotStaysDownUntilItsOperationIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	n := w.node[0]
	n.start()
	w.lead(0)
	if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
		t.Fatal(err)
	}
	at := n.current().index.Applied().LSN
	deliverOne(t, n, 1, "Subject: one\r\n\r\n")
	n.crash(100, mathrand.New(mathrand.NewPCG(1, 1))) // a kill: the index was not flushed
	op := operationBehind(t, n, at)
	if err := (&replay{fs: n.cfg.FS, dir: n.cfg.Meta, end: op + 1}).write(applying{At: fmt.Sprintf("%020d", op), Deaths: maxDeaths}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		n.start()
		w.eventually(func() error {
			if st := n.Status(); st.State == StateFailed && strings.Contains(st.Reason, "quarantined") && st.Fault.LSN == op && st.Fault.Kind == "Deliver" {
				return nil
			}
			return errors.Join(n.Nominate(replica.Nominate{}), fmt.Errorf("status %+v", n.Status()))
		})
		n.stop()
	}
	n.start()
	w.skip(op)
	w.eventually(func() error {
		if n.serving.master() != 0 {
			return nil
		}
		return errors.Join(n.Nominate(replica.Nominate{}), fmt.Errorf("status %+v", n.Status()))
	})
	if got := contents(t, n); len(got) != 0 || !w.frozen(n, accountID) {
		t.Errorf("contents %q, frozen %v", got, w.frozen(n, accountID))
	}
	if list, err := n.cfg.FS.List(n.cfg.Meta); err != nil || slices.Contains(list, applyingFile) {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

// operationBehind finds the first operation in the journal behind from.
func operationBehind(t *testing.T, n *node, from cluster.LSN) (lsn cluster.LSN) {
	t.Helper()
	err := Dump(n.cfg.FS, n.cfg.Meta, from, 1, func(e Entry) error {
		if e.Record != nil && e.Record.Kind == "operation" {
			lsn = e.Record.LSN
		}
		return nil
	})
	if err != nil || lsn == 0 {
		t.Fatalf("no operation behind %d: %v", from, err)
	}
	return lsn
}

func TestSwitchoverToAStrangerIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.node[0].start()
		n := w.lead(0)
		if err := n.SwitchTo(t.Context(), w.node[1].cfg.Slot, 0); !errors.Is(err, ErrRefused) {
			t.Errorf("switch to a slot that is down: %v", err)
		}
		if err := n.SwitchTo(t.Context(), cluster.SlotID{9}, 0); !errors.Is(err, ErrRefused) {
			t.Errorf("switch to no slot of the store: %v", err)
		}
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Errorf("the master does not go on: %v", err)
		}
	})
}
