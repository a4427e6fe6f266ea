package slot

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/state"
)

func TestFailedSyncEndsTheIncarnationAndLeaksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		n := w.node[0]
		n.start()
		w.lead(0)
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		before := runtime.NumGoroutine()
		for i := range byte(5) {
			deliverOne(t, n, i+1, "Subject: safe\r\n\r\n")
			epoch := n.serving.master()
			n.cfg.FS.(*power).failSyncs.Store(1)
			d := Delivery{Transaction: mail.TransactionID{i + 1, 1}, Octets: []byte("Subject: doubtful\r\n\r\n"), Recipients: []state.Recipient{{Account: accountID}}}
			if _, err := n.Deliver(t.Context(), d); !errors.Is(err, mail.ErrUnknown) {
				t.Errorf("delivery whose sync failed: %v", err)
			}
			w.eventually(func() error { // as a controller would
				if n.serving.master() > epoch {
					return nil
				}
				return errors.Join(n.Nominate(replica.Nominate{}), fmt.Errorf("status %+v", n.Status()))
			})
			out, err := n.Deliver(t.Context(), d) // asked again
			if err != nil || len(out) != 1 || out[0].Code != state.Done {
				t.Errorf("the same transaction again: %+v, %v", out, err)
			}
		}
		if got := contents(t, n); len(got) != 10 {
			t.Errorf("%d messages", len(got))
		}
		w.eventually(func() error {
			if now := runtime.NumGoroutine(); now > before+3 {
				return fmt.Errorf("%d goroutines, %d before", now, before)
			}
			return nil
		})
	})
}
