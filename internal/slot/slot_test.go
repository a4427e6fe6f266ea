package slot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

const accountText = "0102030405060708090a0b0c0d0e0f10"

var accountID = mail.AccountID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

func deliverOne(t testing.TB, n *node, number byte, octets string) state.RecipientOutcome {
	t.Helper()
	return deliverText(t, n, int(number)<<24, octets)
}

func deliverText(t testing.TB, n *node, number int, octets string) state.RecipientOutcome {
	t.Helper()
	var id mail.TransactionID
	binary.BigEndian.PutUint32(id[:], uint32(number))
	out, err := n.Deliver(t.Context(), Delivery{
		Transaction: id, Octets: []byte(octets),
		Recipients: []state.Recipient{{Account: accountID, Prefix: []byte("Delivered-To: a\r\n")}},
	})
	if err != nil || len(out) != 1 || out[0].Code != state.Done {
		t.Fatalf("deliver: %+v, %v", out, err)
	}
	return out[0]
}

func contents(t testing.TB, n *node) []string {
	t.Helper()
	v, err := n.Account(accountID).View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	inbox, err := v.Lookup("inbox")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for msg, err := range v.Messages(inbox.ID, 1, inbox.UIDNext) {
		if err != nil {
			t.Fatal(err)
		}
		c, err := v.Open(t.Context(), msg)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, c.Size())
		_, err = c.ReadAt(b, 0)
		if err = errors.Join(err, c.Close()); err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b))
	}
	return got
}

func TestDeliveredMailIsReadBackAfterReopening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.node[0].start()
		n := w.lead(0)
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		deliverOne(t, n, 1, "Subject: one\r\n\r\nbody\r\n")
		n.stop()
		n.start()
		w.lead(0)
		deliverOne(t, n, 2, "Subject: two\r\n\r\nbody\r\n")
		got := contents(t, n)
		if len(got) != 2 || got[0] != "Delivered-To: a\r\nSubject: one\r\n\r\nbody\r\n" {
			t.Errorf("contents %q", got)
		}
	})
}

func TestReplicaTakesOverWithEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.node[0].start()
		w.node[1].start()
		n := w.lead(0)
		w.inSync()
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		for i := range byte(10) {
			deliverOne(t, n, i+1, fmt.Sprintf("Subject: %d\r\n\r\nbody\r\n", i))
		}
		n.stop()
		m := w.lead(1)
		if got := contents(t, m); len(got) != 10 {
			t.Errorf("%d messages after the failover", len(got))
		}
		deliverOne(t, m, 99, "Subject: after\r\n\r\n")
		w.node[0].start()
		w.inSync()
		w.eventually(func() error {
			a, errA := w.node[0].Digest(t.Context(), 0)
			b, errB := m.Digest(t.Context(), 0)
			if errA != nil || errB != nil || a != b {
				return fmt.Errorf("digests %+v, %v and %+v, %v", a, errA, b, errB)
			}
			return nil
		})
	})
}

func TestSwitchoverLosesNothingAndHoldsWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.node[0].start()
		w.node[1].start()
		n := w.lead(0)
		w.inSync()
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		deliverOne(t, n, 1, "Subject: before\r\n\r\n")
		start := time.Now()
		if err := n.SwitchTo(t.Context(), w.node[1].cfg.Slot, 0); err != nil {
			t.Fatal(err)
		}
		if err := w.node[1].AwaitServing(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		t.Logf("switched in %v", time.Since(start))
		deliverOne(t, w.node[1], 2, "Subject: after\r\n\r\n")
		if got := contents(t, w.node[1]); len(got) != 2 {
			t.Errorf("contents %q", got)
		}
		w.inSync()
	})
}
