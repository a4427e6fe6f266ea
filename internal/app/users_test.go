package app

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/memory"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/mail"
)

func TestUsersThatCannotBeAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.put(coord.StoreKey("s01"), s01().Encode())
		r.run()
		asked := r.remote.Call
		r.remote.Call = func(ctx context.Context, m cluster.Machine, req []byte) ([]byte, error) {
			t.Errorf("%s was asked %s", m, req)
			return asked(ctx, m, req)
		}
		if _, err := r.users.Add(t.Context(), directory.User{Name: "ann@example.org", Store: "s01", Account: mail.AccountID{1}}); err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			user    api.NewUser
			status  int
			message string
		}{
			{api.NewUser{Address: "bob@example.org"}, http.StatusBadRequest, "a user needs a password"},
			{api.NewUser{Address: "bob@", Shared: true}, http.StatusBadRequest, `"bob@" is no address`},
			{api.NewUser{Address: "bob@", Password: "x"}, http.StatusBadRequest, `"bob@" is no address`},
			{api.NewUser{Address: "Ann@Example.org", Password: "x"}, http.StatusConflict, "Ann@Example.org exists already"},
			{api.NewUser{Address: "bob@example.org", Password: "x", Store: "s09"}, http.StatusNotFound, "there is no store s09"},
		} {
			_, err := r.AddUser(t.Context(), tc.user)
			wantError(t, err, tc.status, tc.message)
		}
		_, err := r.WhereUser(t.Context(), "bob@example.org")
		wantError(t, err, http.StatusNotFound, "there is no user bob@example.org")
		wantError(t, r.DeleteUser(t.Context(), "bob@example.org", "o"), http.StatusNotFound, "there is no user bob@example.org")
		wantError(t, r.DeleteUser(t.Context(), "@", "o"), http.StatusBadRequest, `"@" is no address`)
	})
}

func TestUserIsShownWithoutItsSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.put(coord.StoreKey("s01"), s01().Encode())
		r.run()
		for _, u := range []directory.User{
			{Name: "bob@example.org", Store: "s01", Account: mail.AccountID{2}, Credential: "secret"},
			{Name: "ann@example.org", Store: "s01", Account: mail.AccountID{1}, State: directory.Frozen},
		} {
			if _, err := r.users.Add(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
		ann := api.User{Address: "ann@example.org", Account: mail.AccountID{1}.String(), Store: "s01", State: "frozen"}
		bob := api.User{Address: "bob@example.org", Account: mail.AccountID{2}.String(), Store: "s01", State: "active"}
		all, err := r.Users(t.Context())
		if err != nil || len(all) != 2 || all[0] != ann || all[1] != bob {
			t.Errorf("all: %+v, %v", all, err)
		}
		bob.Master = "m1"
		if got, err := r.WhereUser(t.Context(), "BOB@example.org"); err != nil || got != bob {
			t.Errorf("where: %+v, %v", got, err)
		}
	})
}

func TestMasterThatDoesNotDoItIsNamedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.put(coord.StoreKey("s01"), s01().Encode())
		r.agents["m1"] = agent.Status{}
		r.run()
		_, err := r.AddUser(t.Context(), api.NewUser{Address: "bob@example.org", Password: "x", Store: "s01"})
		wantError(t, err, http.StatusServiceUnavailable, "the master of store s01 did not do it: agent of m1: refused by the test")
		if _, err := r.users.Lookup(t.Context(), "bob@example.org"); !errors.Is(err, directory.ErrNoUser) {
			t.Errorf("the user is there without an account: %v", err)
		}
	})
}

func TestUnreadDirectorySaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.mem.SetFaults(memory.Faults{Down: errors.New("cut off")})
		ctx, cancel := context.WithTimeout(t.Context(), askTime)
		defer cancel()
		_, users := r.Users(ctx)
		_, add := r.AddUser(ctx, api.NewUser{Address: "bob@example.org", Password: "x"})
		_, where := r.WhereUser(ctx, "bob@example.org")
		for name, err := range map[string]error{"users": users, "add": add, "where": where, "delete": r.DeleteUser(ctx, "bob@example.org", "o")} {
			var e *api.Error
			if !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
