package directory_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/memory"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/mail"
)

// open runs a directory on a coordinator that has two stores.
func open(t *testing.T, c coord.Coord) *directory.Directory {
	t.Helper()
	_, _, err := c.Txn(t.Context(), coord.Txn{Then: []coord.Op{
		coord.Put(coord.StoreKey("s01"), nil), coord.Put(coord.StoreKey("s02"), nil),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return run(t, c)
}

func run(t *testing.T, c coord.Coord) *directory.Directory {
	t.Helper()
	d := directory.New(directory.Config{Coord: c})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return d
}

func add(t *testing.T, d *directory.Directory, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := d.Add(t.Context(), directory.User{Name: n}); err != nil {
			t.Fatal(err)
		}
	}
}

func alias(t *testing.T, d *directory.Directory, address string, targets ...string) {
	t.Helper()
	if err := d.SetAlias(t.Context(), address, targets...); err != nil {
		t.Fatal(err)
	}
}

func TestAddressesThatAreTheSameCompareEqual(t *testing.T) {
	for _, c := range []struct{ in, full, base, detail string }{
		{"anna@example.org", "anna@example.org", "", ""},
		{"Anna@EXAMPLE.org.", "anna@example.org", "", ""},
		{"anna", "anna", "", ""},
		{"anna+Lists@example.org", "anna+lists@example.org", "anna@example.org", "Lists"},
		{"anna+a+b@example.org", "anna+a+b@example.org", "anna@example.org", "a+b"},
		{"+x@example.org", "+x@example.org", "", ""},
		{`"anna"@example.org`, "anna@example.org", "", ""},
		{`"an\"na b"@example.org`, `an"na b@example.org`, "", ""},
		{"bjo\u0308rn@b\u00fccher.example", "bj\u00f6rn@xn--bcher-kva.example", "", ""},
		{"BJ\u00d6RN@XN--BCHER-KVA.example", "bj\u00f6rn@xn--bcher-kva.example", "", ""},
		{"a@b@example.org", "a@b@example.org", "", ""},
		{"a/b@example.org", "a/b@example.org", "", ""},
		{"anna@[192.0.2.1]", "anna@[192.0.2.1]", "", ""},
	} {
		a, err := directory.Policy{}.Parse(c.in)
		if err != nil || a.Full != c.full || a.Base != c.base || a.Detail != c.detail {
			t.Errorf("%q: %+v, %v; want %+v", c.in, a, err, c)
		}
	}
	for _, in := range []string{"", "@example.org", "anna@", "an\x00na@example.org", "anna@exa mple.org", "\xff@example.org", strings.Repeat("x", 400)} {
		if a, err := (directory.Policy{}).Parse(in); !errors.Is(err, directory.ErrBadAddress) {
			t.Errorf("%q is accepted as %+v, %v", in, a, err)
		}
	}
	if a, _ := (directory.Policy{CaseSensitive: true, Detail: "none"}).Parse("Anna+X@Example.org"); a.Full != "Anna+X@example.org" || a.Base != "" {
		t.Errorf("policy ignored: %+v", a)
	}
}

func TestResolve(t *testing.T) {
	d := open(t, memory.New())
	add(t, d, "anna@example.org", "bob@example.org", "bob+own@example.org", "eve@other.example")
	alias(t, d, "team@example.org", "anna@example.org", "Bob@Example.org", "anna@example.org")
	alias(t, d, "all@example.org", "team@example.org", "eve@other.example")
	alias(t, d, "@other.example", "eve@other.example")
	alias(t, d, "ring1@example.org", "ring2@example.org")
	alias(t, d, "ring2@example.org", "ring1@example.org")
	alias(t, d, "old@example.org", "gone@example.org")
	for _, c := range []struct {
		in, want string
		err      error
	}{
		{"ANNA@example.org", "anna@example.org/", nil},
		{"anna+News@example.org", "anna@example.org/News", nil},
		{"bob+own@example.org", "bob+own@example.org/", nil},
		{"team@example.org", "anna@example.org/ bob@example.org/", nil},
		{"team+X@example.org", "anna@example.org/X bob@example.org/X", nil},
		{"all@example.org", "anna@example.org/ bob@example.org/ eve@other.example/", nil},
		{"whoever@other.example", "eve@other.example/", nil},
		{"whoever+x@other.example", "eve@other.example/", nil},
		{"nobody@example.org", "", directory.ErrNoUser},
		{"anna@elsewhere.example", "", directory.ErrNoUser},
		{"ring1@example.org", "", directory.ErrAlias},
		{"old@example.org", "", directory.ErrAlias},
		{"@", "", directory.ErrBadAddress},
	} {
		got, err := d.Resolve(t.Context(), c.in)
		var names []string
		for _, r := range got {
			names = append(names, r.User.Name+"/"+r.Detail)
		}
		if s := strings.Join(names, " "); s != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v; want %q, %v", c.in, s, err, c.want, c.err)
		}
	}
}

func TestNewUsersGoToTheEmptiestStore(t *testing.T) {
	d := open(t, memory.New())
	for i := range 6 {
		add(t, d, fmt.Sprintf("u%d@example.org", i))
	}
	if s := d.Stats(); s.Users != 6 || s.PerStore["s01"] != 3 || s.PerStore["s02"] != 3 {
		t.Fatalf("%+v", s)
	}
	if err := d.Delete(t.Context(), "U0@example.org", "o", time.Now()); err != nil {
		t.Fatal(err)
	}
	u, err := d.Add(t.Context(), directory.User{Name: "new@example.org"})
	if err != nil || u.Store != "s01" || u.Account.IsZero() {
		t.Fatalf("%+v, %v", u, err)
	}
	if n := len(slices.Collect(d.List())); n != 6 {
		t.Fatalf("listed %d", n)
	}
}

func TestAChangeIsSeenByItsMakerAtOnceAndByOthersThroughTheWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.NewServer(memory.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		here := directory.New(directory.Config{Coord: s.Client()})
		there := directory.New(directory.Config{Coord: s.Client()})
		go here.Run(ctx)
		go there.Run(ctx)
		u := directory.User{Name: "anna@example.org", Store: "s01"}
		if _, err := here.Add(ctx, u); err != nil {
			t.Fatal(err)
		}
		if _, err := here.Lookup(ctx, "Anna@example.org"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		before, err := there.Lookup(ctx, "anna@example.org")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := here.Update(ctx, "anna@example.org", func(u *directory.User) error { u.Store = "s02"; return nil }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		after, _ := there.Lookup(ctx, "anna@example.org")
		if before.Store != "s01" || after.Store != "s02" || before.Account != after.Account {
			t.Fatalf("%+v, %+v", before, after)
		}
		if err := here.Delete(ctx, "anna@example.org", "o", time.Now()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := there.Lookup(ctx, "anna@example.org"); !errors.Is(err, directory.ErrNoUser) {
			t.Fatal(err)
		}
	})
}

// TestOutageNeverMakesAUserUnknown: known users are found without the
// coordinator, unknown ones are not said to be nobody.
func TestOutageNeverMakesAUserUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.NewServer(memory.Config{})
		c := s.Client()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer synctest.Wait()
		defer cancel()
		down := memory.Faults{Down: errors.New("cable")}
		c.SetFaults(down)
		d := directory.New(directory.Config{Coord: c})
		go d.Run(ctx)
		hurry, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		if _, err := d.Lookup(hurry, "anna@example.org"); !errors.Is(err, directory.ErrNotReady) {
			t.Fatalf("before the first read: %v", err)
		}
		c.SetFaults(memory.Faults{})
		if _, err := d.Add(ctx, directory.User{Name: "anna@example.org", Store: "s01"}); err != nil {
			t.Fatal(err)
		}
		if err := d.Wait(ctx); err != nil { // for the aliases too
			t.Fatal(err)
		}
		c.SetFaults(down)
		<-time.After(time.Minute)
		if _, err := d.Lookup(ctx, "anna@example.org"); err != nil {
			t.Fatalf("known user during the outage: %v", err)
		}
		for _, ask := range []func() error{
			func() error { _, err := d.Lookup(ctx, "new@example.org"); return err },
			func() error { _, err := d.Resolve(ctx, "new@example.org"); return err },
		} {
			if err := ask(); !errors.Is(err, directory.ErrNotReady) || errors.Is(err, directory.ErrNoUser) {
				t.Fatalf("unknown user during the outage: %v", err)
			}
		}
		c.SetFaults(memory.Faults{})
		<-time.After(time.Minute)
		if _, err := d.Lookup(ctx, "new@example.org"); !errors.Is(err, directory.ErrNoUser) {
			t.Fatalf("after the outage: %v", err)
		}
	})
}

func TestNameIsAUserOrAnAliasNotBoth(t *testing.T) {
	d := open(t, memory.New())
	add(t, d, "anna@example.org")
	alias(t, d, "team@example.org", "anna@example.org")
	if err := d.SetAlias(t.Context(), "Anna@example.org", "team@example.org"); !errors.Is(err, directory.ErrExists) {
		t.Fatal(err)
	}
	for _, name := range []string{"TEAM@example.org", "Anna@Example.org"} {
		if _, err := d.Add(t.Context(), directory.User{Name: name}); !errors.Is(err, directory.ErrExists) {
			t.Fatal(err)
		}
	}
	alias(t, d, "team@example.org") // removes it
	add(t, d, "team@example.org")
}

func TestLostAnswerOfAChangeIsFoundOut(t *testing.T) {
	s := memory.NewServer(memory.Config{})
	c := s.Client()
	d := open(t, c)
	add(t, d, "bob@example.org")
	always := func(coord.Txn) bool { return true }
	c.SetFaults(memory.Faults{LoseAnswer: always})
	if _, err := d.Add(t.Context(), directory.User{Name: "anna@example.org"}); err != nil {
		t.Fatalf("happened, and the answer was lost: %v", err)
	}
	if err := d.Delete(t.Context(), "bob@example.org", "o", time.Now()); err != nil {
		t.Fatal(err)
	}
	c.SetFaults(memory.Faults{LoseRequest: always})
	if _, err := d.Add(t.Context(), directory.User{Name: "carl@example.org"}); !errors.Is(err, cluster.ErrUnknown) {
		t.Fatalf("the request was lost: %v", err)
	}
}

func TestUnreadableEntryIsThereAndTemporary(t *testing.T) {
	c := memory.New()
	_, _, err := c.Txn(t.Context(), coord.Txn{Then: []coord.Op{coord.Put(coord.UserKey("anna@example.org"), []byte(`{"name":7}`))}})
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, c)
	for _, ask := range []func() error{
		func() error { _, err := d.Lookup(t.Context(), "anna@example.org"); return err },
		func() error { _, err := d.Resolve(t.Context(), "anna+x@example.org"); return err },
	} {
		if err := ask(); !errors.Is(err, directory.ErrNotReady) || errors.Is(err, directory.ErrNoUser) {
			t.Fatal(err)
		}
	}
}

// TestACopyCostsLessThanAKilobyteAUser measures what the package doc promises.
func TestACopyCostsLessThanAKilobyteAUser(t *testing.T) {
	const n = 20_000
	s := memory.NewServer(memory.Config{History: 1})
	c := s.Client()
	for i := 0; i < n; i += 100 {
		var txn coord.Txn
		for j := i; j < i+100; j++ {
			name := fmt.Sprintf("user%06d@mail.example.org", j)
			u := directory.User{Name: name, Display: name, Store: "s01", Credential: strings.Repeat("x", 97), Account: mail.AccountID{byte(j), byte(j >> 8), byte(j >> 16), 1}}
			txn.Then = append(txn.Then, coord.Put(coord.UserKey(name), coord.Encode(u)))
		}
		if _, _, err := c.Txn(t.Context(), txn); err != nil {
			t.Fatal(err)
		}
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	d := run(t, c)
	if err := d.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	per := (heap() - before) / n
	if got := d.Stats().Users; got != n {
		t.Fatalf("%d users", got)
	}
	t.Logf("%d octets a user", per)
	if per > 1024 {
		t.Fatalf("%d octets a user", per)
	}
	runtime.KeepAlive(d)
}
