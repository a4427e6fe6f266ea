package directory_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/memory"
	"github.com/tandemail/tandemail/internal/directory"
)

// wantUnknown asks for an address that nobody has.
func wantUnknown(t *testing.T, d *directory.Directory, want error) {
	t.Helper()
	synctest.Wait()
	_, resolved := d.Resolve(t.Context(), "nobody@example.org")
	_, looked := d.Lookup(t.Context(), "nobody@example.org")
	if !errors.Is(resolved, want) || !errors.Is(looked, want) {
		t.Errorf("an unknown address: %v, %v; want %v", resolved, looked, want)
	}
}

func TestShardThatMayLackEntriesCallsNobodyUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, prefix := range []string{coord.UsersPrefix, coord.AliasesPrefix} {
			c := memory.New()
			d := open(t, c)
			add(t, d, "ann@example.org")
			alias(t, d, "list@example.org", "ann@example.org")
			wantUnknown(t, d, directory.ErrNoUser)
			mark := func(op coord.Op) {
				if _, _, err := c.Txn(t.Context(), coord.Txn{Then: []coord.Op{op}}); err != nil {
					t.Fatal(err)
				}
			}
			key := coord.ShardPrefixes(prefix)[7]
			mark(coord.Put(key, []byte("true")))
			synctest.Wait()
			_, err := d.Resolve(t.Context(), "nobody@example.org")
			if !errors.Is(err, directory.ErrIncomplete) || !errors.Is(err, directory.ErrNotReady) || !d.Stats().Incomplete {
				t.Errorf("%s may lack entries, an unknown address: %v", prefix, err)
			}
			if out, err := d.Resolve(t.Context(), "list@example.org"); err != nil || len(out) != 1 {
				t.Errorf("a known one: %v, %v", out, err)
			}
			if s := d.Stats(); s.Users != 1 || s.Aliases != 1 {
				t.Errorf("the key of a shard is counted: %+v", s)
			}
			late := run(t, c)
			synctest.Wait()
			if !late.Stats().Incomplete {
				t.Error("a directory that began later does not know")
			}
			mark(coord.Delete(key))
			wantUnknown(t, d, directory.ErrNoUser)
			wantUnknown(t, late, directory.ErrNoUser)
		}
	})
}

func TestDirectoryOfACoordinatorThatWentBackCallsNobodyUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New()
		d := open(t, c)
		add(t, d, "ann@example.org")
		before := c.Server().Snapshot()
		add(t, d, "late@example.org")
		c.Server().Restore(before)
		time.Sleep(10 * time.Second) // virtual
		if _, err := d.Lookup(t.Context(), "ann@example.org"); err != nil {
			t.Errorf("who is there: %v", err)
		}
		wantUnknown(t, d, directory.ErrIncomplete)
		key := coord.ShardPrefixes(coord.UsersPrefix)[0]
		for _, op := range []coord.Op{coord.Put(key, []byte("true")), coord.Delete(key)} {
			if _, _, err := c.Txn(t.Context(), coord.Txn{Then: []coord.Op{op}}); err != nil {
				t.Fatal(err)
			}
		}
		wantUnknown(t, d, directory.ErrNoUser) // somebody recovered it
	})
}

func TestDoubtCallsNobodyUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		doubt := true
		d := directory.New(directory.Config{Coord: memory.New(), Doubt: func() bool { return doubt }})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = d.Run(ctx) }()
		if _, err := d.Add(t.Context(), directory.User{Name: "ann@example.org", Store: "s01"}); err != nil {
			t.Fatal(err)
		}
		wantUnknown(t, d, directory.ErrIncomplete)
		doubt = false
		wantUnknown(t, d, directory.ErrNoUser)
	})
}
