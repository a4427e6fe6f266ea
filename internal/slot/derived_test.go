package slot

import (
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
)

// TestDerivedDataIsForgottenWhenNobodyAsksForIt holds that what was derived of mail that
// has gone does not stay for ever.
func TestDerivedDataIsForgottenWhenNobodyAsksForIt(t *testing.T) {
	w := newWorld(t, 1)
	n := w.node[0]
	used, unused := mail.EmailID{1}, mail.EmailID{2}
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	keeps := func(id mail.EmailID) bool { return n.Account(accountID).Derived(1, id)[0] != nil }
	for era := range 4 {
		date := now.Add(time.Duration(era) * derivedEra)
		n.date.Store(&date)
		n.start()
		w.lead(0)
		if era == 0 {
			n.Account(accountID).SetDerived(used, 1, []byte("used"))
			n.Account(accountID).SetDerived(unused, 1, []byte("unused"))
		}
		if !keeps(used) {
			t.Fatalf("era %d: what is used in each one is gone", era)
		}
		if era == 3 && keeps(unused) {
			t.Error("what nobody used is still there")
		}
		n.stop()
	}
}
