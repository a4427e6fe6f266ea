package slot

import (
	"crypto/rand"
	"testing"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/mail/mailtest"
)

func TestSlotHoldsTheContractOfAccounts(t *testing.T) { conform(t, 1) }

func TestPairHoldsTheContractOfAccounts(t *testing.T) { conform(t, 2) }

func conform(t *testing.T, slots int) {
	t.Parallel()
	w := newWorld(t, slots)
	for _, n := range w.node {
		n.start()
	}
	n := w.lead(0)
	w.inSync()
	mailtest.Run(t, func(t *testing.T) mail.Account {
		var id mail.AccountID
		_, _ = rand.Read(id[:]) // never fails
		if err := n.CreateAccount(t.Context(), id.String(), 0); err != nil {
			t.Fatal(err)
		}
		return n.Account(id)
	})
	w.sameEverywhere()
}
