package app

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/mail/mailtest"
	"github.com/tandemail/tandemail/internal/state"
)

// TestOthersAreWhoHasGrantedSomething, and their accounts are those of their stores, as the
// user finds them.
func TestOthersAreWhoHasGrantedSomething(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.put(coord.StoreKey("s01"), s01().Encode())
		r.run()
		ids := map[string]mail.AccountID{"ann": {1}, "bob": {2}, "eve": {3}}
		twin := mailtest.NewServer(mailtest.Config{})
		for name, id := range ids {
			if _, err := r.users.Add(t.Context(), directory.User{Name: name, Store: "s01", Account: id}); err != nil {
				t.Fatal(err)
			}
			if _, err := twin.CreateAccount(id, state.NewAccount{}); err != nil {
				t.Fatal(err)
			}
		}
		open := func(s cluster.Store, id mail.AccountID) mail.Account {
			if s != "s01" {
				t.Errorf("account %s is opened in store %s", id, s)
			}
			return twin.Account(id)
		}
		ann, bob := others{r.users, open, ids["ann"]}, others{r.users, open, ids["bob"]}
		if err := ann.Granted(t.Context(), ids["ann"], ids["bob"], true); err != nil {
			t.Fatal(err)
		}
		if list, err := bob.Owners(t.Context()); err != nil || len(list) != 1 || list[0] != ids["ann"] {
			t.Errorf("bob's owners: %v, %v", list, err)
		}
		if list, err := ann.Owners(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("ann's owners: %v, %v", list, err)
		}
		for id, want := range map[mail.AccountID]error{ids["ann"]: nil, ids["eve"]: nil, ids["bob"]: mail.ErrNoAccount, {9}: mail.ErrNoAccount} {
			a, err := bob.Open(t.Context(), id)
			if !errors.Is(err, want) {
				t.Errorf("open %s: %v", id, err)
			}
			if err != nil {
				continue
			}
			v, err := a.View(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Lookup("INBOX"); !errors.Is(err, mail.ErrNoMailbox) {
				t.Errorf("bob sees what is not granted: %v", err)
			}
			v.Close()
		}
		for user, want := range map[mail.AccountID]error{ids["eve"]: mail.ErrNoMailbox, ids["ann"]: nil} {
			a, err := bob.OpenAs(t.Context(), ids["ann"], user)
			if err != nil {
				t.Fatal(err)
			}
			v, err := a.View(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Lookup("INBOX"); !errors.Is(err, want) {
				t.Errorf("ann's account as of %s: %v", user, err)
			}
			v.Close()
		}
		if _, err := bob.OpenAs(t.Context(), mail.AccountID{9}, ids["bob"]); !errors.Is(err, mail.ErrNoAccount) {
			t.Errorf("nobody's account: %v", err)
		}
	})
}
