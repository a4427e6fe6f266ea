package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/tandemail/tandemail/internal/auth"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/mail"
)

type users struct {
	byName map[string]directory.User
	err    error
}

func (u *users) Lookup(_ context.Context, name string) (directory.User, error) {
	if u.err != nil {
		return directory.User{}, u.err
	}
	e, ok := u.byName[strings.ToLower(name)]
	if !ok {
		return e, directory.ErrNoUser
	}
	return e, nil
}

type bench struct {
	*auth.Authenticator
	users  *users
	hasher *auth.Hasher
	now    time.Time
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{users: &users{byName: map[string]directory.User{}}, hasher: auth.NewHasher(auth.CheapParams, nil, 2), now: time.Unix(1e9, 0)}
	for i, name := range []string{"anna", "bob", "admin"} {
		u := directory.User{Name: name, Account: mail.AccountID{byte(i + 1)}, Store: "s01", MayProxy: name == "admin"}
		u.Credential = b.hash(t, name+"'s secret")
		b.users.byName[name] = u
	}
	a, err := auth.New(auth.Config{Users: b.users, Hasher: b.hasher, Now: func() time.Time { return b.now }})
	if err != nil {
		t.Fatal(err)
	}
	b.Authenticator = a
	return b
}

func (b *bench) hash(t *testing.T, password string) string {
	t.Helper()
	c, err := b.hasher.Hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (b *bench) try(t *testing.T, user, as, password, remote string) (auth.Identity, error) {
	t.Helper()
	return b.Authenticate(t.Context(), auth.Attempt{User: user, As: as, Password: password, Remote: netip.MustParseAddr(remote)})
}

func TestAuthenticate(t *testing.T) {
	b := newBench(t)
	frozen := b.users.byName["bob"]
	frozen.Name, frozen.State = "ice", directory.Frozen
	b.users.byName["ice"] = frozen
	mute := frozen
	mute.Name, mute.State, mute.Credential = "mute", directory.Active, ""
	b.users.byName["mute"] = mute
	for _, c := range []struct {
		user, as, password, want string
		err                      error
	}{
		{"anna", "", "anna's secret", "anna by ", nil},
		{"Anna", "anna", "anna's secret", "anna by ", nil},
		{"anna", "", "bob's secret", "", auth.ErrFailed},
		{"anna", "", "", "", auth.ErrFailed},
		{"nobody", "", "anna's secret", "", auth.ErrFailed},
		{"anna", "bob", "anna's secret", "", auth.ErrFailed},
		{"admin", "bob", "admin's secret", "bob by admin", nil},
		{"admin", "nobody", "admin's secret", "", auth.ErrFailed},
		{"admin", "bob", "bob's secret", "", auth.ErrFailed},
		{"ice", "", "bob's secret", "", auth.ErrFrozen},
		{"ice", "", "wrong", "", auth.ErrFailed},
		{"mute", "", "nobody's password", "", auth.ErrFailed},
	} {
		id, err := b.try(t, c.user, c.as, c.password, "192.0.2.1")
		got := ""
		if err == nil {
			got = id.User + " by " + id.AuthorisedBy
			if id.Store != "s01" || id.Account != b.users.byName[id.User].Account {
				t.Errorf("%v: %+v", c, id)
			}
		}
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%v: %q, %v", c, got, err)
		}
	}
}

func TestDirectoryOutageIsNoRefusal(t *testing.T) {
	b := newBench(t)
	b.users.err = directory.ErrNotReady
	for range 100 {
		if _, err := b.try(t, "anna", "", "anna's secret", "192.0.2.1"); !errors.Is(err, auth.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	b.users.err = nil
	if _, err := b.try(t, "anna", "", "anna's secret", "192.0.2.1"); err != nil {
		t.Fatalf("the outage was counted as failures: %v", err)
	}
}

func TestChangedPasswordEndsWhatWasRemembered(t *testing.T) {
	b := newBench(t)
	if _, err := b.try(t, "anna", "", "anna's secret", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	u := b.users.byName["anna"]
	u.Credential = b.hash(t, "new")
	b.users.byName["anna"] = u
	if _, err := b.try(t, "anna", "", "anna's secret", "192.0.2.1"); !errors.Is(err, auth.ErrFailed) {
		t.Fatalf("old password: %v", err)
	}
	if _, err := b.try(t, "anna", "", "new", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
}

// TestRememberedSuccessNeedsNoHasher: a context that is over can have no slot of
// the hasher, so only memory lets anybody in.
func TestRememberedSuccessNeedsNoHasher(t *testing.T) {
	b := newBench(t)
	if _, err := b.try(t, "anna", "", "anna's secret", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	at := auth.Attempt{User: "anna", Password: "anna's secret"}
	if _, err := b.Authenticate(over, at); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(5*time.Minute + time.Second)
	if _, err := b.Authenticate(over, at); !errors.Is(err, auth.ErrUnavailable) {
		t.Fatalf("remembered for too long: %v", err)
	}
}

func TestUnreadableCredentialIsNoRefusal(t *testing.T) {
	b := newBench(t)
	b.users.byName["odd"] = directory.User{Name: "odd", Credential: "{OF-THE-FUTURE}"}
	_, err := b.try(t, "odd", "", "x", "192.0.2.1")
	if !errors.Is(err, auth.ErrUnavailable) || !errors.Is(err, auth.ErrCredential) {
		t.Fatal(err)
	}
}

func TestFailuresAreLimitedByUserAndAddress(t *testing.T) {
	b := newBench(t)
	remote := func(i int) string { return fmt.Sprintf("192.0.2.%d", i) }
	for i := range 10 {
		if _, err := b.try(t, "anna", "", "guess", remote(i)); !errors.Is(err, auth.ErrFailed) {
			t.Fatal(i, err)
		}
	}
	if _, err := b.try(t, "anna", "", "anna's secret", remote(99)); !errors.Is(err, auth.ErrLimited) {
		t.Fatalf("the 11th try from anywhere: %v", err)
	}
	if _, err := b.try(t, "bob", "", "bob's secret", remote(0)); err != nil {
		t.Fatalf("another user from the same address: %v", err)
	}
	b.now = b.now.Add(31 * time.Second)
	if _, err := b.try(t, "anna", "", "anna's secret", remote(99)); err != nil {
		t.Fatalf("after a while: %v", err)
	}
	for i := range 50 {
		if _, err := b.try(t, fmt.Sprint("guess", i), "", "guess", fmt.Sprintf("2001:db8::%x", i)); !errors.Is(err, auth.ErrFailed) {
			t.Fatal(i, err)
		}
	}
	b.now = b.now.Add(6 * time.Minute) // nothing is remembered any more
	for i := range 50 {
		_, _ = b.try(t, fmt.Sprint("guess", i), "", "guess", fmt.Sprintf("2001:db8::%x", i))
	}
	if _, err := b.try(t, "bob", "", "bob's secret", "2001:db8::ffff"); !errors.Is(err, auth.ErrLimited) {
		t.Fatalf("the /64 that failed 50 times: %v", err)
	}
	if _, err := b.try(t, "bob", "", "bob's secret", "2001:db8:1::1"); err != nil {
		t.Fatalf("its neighbour: %v", err)
	}
}

func TestRememberedUserIsNotLockedOutByOthersGuesses(t *testing.T) {
	b := newBench(t)
	if _, err := b.try(t, "anna", "", "anna's secret", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		_, _ = b.try(t, "anna", "", "guess", "198.51.100.1")
	}
	if _, err := b.try(t, "anna", "", "anna's secret", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
}

func TestHasherVerifies(t *testing.T) {
	h := auth.NewHasher(auth.CheapParams, nil, 0)
	dear := auth.NewHasher(auth.Params{Memory: 128, Time: 2, Threads: 1}, nil, 0)
	made, err := h.Hash(t.Context(), "gr\u00fcn")
	if err != nil {
		t.Fatal(err)
	}
	bc, err := bcrypt.GenerateFromPassword([]byte("gr\u00fcn"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, credential, password string
		h                          *auth.Hasher
		ok, stale                  bool
	}{
		{"right", made, "gr\u00fcn", h, true, false},
		{"decomposed", made, "gru\u0308n", h, true, false},
		{"wrong", made, "gruen", h, false, false},
		{"empty", made, "", h, false, false},
		{"other parameters", made, "gr\u00fcn", dear, true, true},
		{"bcrypt", string(bc), "gr\u00fcn", h, true, true},
		{"bcrypt wrong", string(bc), "gruen", h, false, false},
		// From the reference implementation: argon2 -id -t 2 -k 65536 -p 1, RFC 9106's variant.
		{"reference", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password", h, true, true},
	} {
		ok, stale, err := c.h.Verify(t.Context(), c.credential, c.password)
		if ok != c.ok || stale != c.stale || err != nil {
			t.Errorf("%s: %v, %v, %v", c.name, ok, stale, err)
		}
	}
	for _, bad := range []string{"", "secret", "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$x", "$argon2id$v=19$m=99999999,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "$2a$99$x"} {
		if _, _, err := h.Verify(t.Context(), bad, "x"); !errors.Is(err, auth.ErrCredential) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	again, _ := h.Hash(t.Context(), "gr\u00fcn")
	if again == made {
		t.Error("two credentials have one salt")
	}
}
