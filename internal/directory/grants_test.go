package directory_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/memory"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/mail"
)

func owners(d *directory.Directory, user mail.AccountID) (names []string) {
	for _, u := range d.Owners(user) {
		names = append(names, u.Name)
	}
	return names
}

func account(t *testing.T, d *directory.Directory, name string) mail.AccountID {
	t.Helper()
	u, err := d.Lookup(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return u.Account
}

// TestGrantsAreKnownEverywhere: what one machine notes the others hear, and one that
// comes later reads.
func TestGrantsAreKnownEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New()
		here, there := open(t, c), run(t, c)
		add(t, here, "ann", "bob", "eve", "zoe")
		ann, bob, eve := account(t, here, "ann"), account(t, here, "bob"), account(t, here, "eve")
		note := func(owner, user mail.AccountID, on bool) {
			t.Helper()
			if err := here.SetGrant(t.Context(), owner, user, on); err != nil {
				t.Fatal(err)
			}
		}
		check := func(user mail.AccountID, want ...string) {
			t.Helper()
			if got := owners(here, user); !slices.Equal(got, want) {
				t.Errorf("here: %v, want %v", got, want)
			}
			synctest.Wait()
			for _, d := range []*directory.Directory{there, run(t, c)} {
				synctest.Wait()
				if got := owners(d, user); !slices.Equal(got, want) {
					t.Errorf("elsewhere: %v, want %v", got, want)
				}
			}
		}
		check(bob)
		note(eve, bob, true)
		note(ann, bob, true)
		note(ann, bob, true)
		check(bob, "ann", "eve")
		check(ann)
		note(ann, mail.AccountID{}, true)
		note(ann, bob, false)
		check(bob, "ann", "eve")
		check(eve, "ann")
		check(ann)
		note(ann, mail.AccountID{}, false)
		check(bob, "eve")
		if u, ok := there.ByAccount(eve); !ok || u.Name != "eve" {
			t.Errorf("eve is %+v, %v", u, ok)
		}
	})
}

// TestGrantsOfADeletedUserWait: they come back with the user, and go for good when the
// user does.
func TestGrantsOfADeletedUserWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New()
		d := open(t, c)
		add(t, d, "ann", "bob", "eve")
		ann, bob, eve := account(t, d, "ann"), account(t, d, "bob"), account(t, d, "eve")
		for _, g := range [][2]mail.AccountID{{ann, bob}, {bob, eve}, {eve, ann}} {
			if err := d.SetGrant(t.Context(), g[0], g[1], true); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Delete(t.Context(), "bob", "test", time.Now()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := owners(d, eve); len(got) != 0 {
			t.Errorf("a deleted user is an owner: %v", got)
		}
		if _, ok := d.ByAccount(bob); ok {
			t.Error("a deleted user is found by account")
		}
		gone, err := d.FindDeleted(t.Context(), "bob")
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Undelete(t.Context(), gone.User); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := owners(d, eve); !slices.Equal(got, []string{"bob"}) {
			t.Errorf("after bob came back: %v", got)
		}
		if err := d.Delete(t.Context(), "bob", "test", time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := d.Forget(t.Context(), gone.User); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		kvs, _, err := c.List(t.Context(), coord.GrantsPrefix)
		if err != nil || len(kvs) != 1 {
			t.Errorf("left: %v, %v", kvs, err)
		}
	})
}
