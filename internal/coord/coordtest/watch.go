package coordtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// pull makes a watch one that is read batch by batch.
func pull(ctx context.Context, c coord.Coord, prefix string, after cluster.Rev) (next func() ([]coord.Change, error, bool), stop func()) {
	return iter.Pull2(c.Watch(ctx, prefix, after))
}

func watchOrder(t *testing.T, e Env) {
	start := put(t, e.A, "/t/w/a", "before")
	first := put(t, e.A, "/t/w/a", "1")
	next, stop := pull(t.Context(), e.B, "/t/w/", start)
	defer stop()
	var revs []cluster.Rev
	take := func(want string, deleted bool) {
		t.Helper()
		batch, err, ok := next()
		if !ok || err != nil || len(batch) != 1 {
			t.Fatalf("want %s: %v, %v, %v", want, batch, err, ok)
		}
		c := batch[0]
		if string(c.Value) != want || c.Deleted != deleted || c.Key != "/t/w/a" {
			t.Fatalf("change %+v, want %q", c, want)
		}
		revs = append(revs, c.Rev)
	}
	take("1", false)
	put(t, e.A, "/t/other", "not watched")
	second := put(t, e.A, "/t/w/a", "2")
	take("2", false)
	if _, _, err := e.A.Txn(t.Context(), coord.Txn{Then: []coord.Op{coord.Delete("/t/w/a")}}); err != nil {
		t.Fatal(err)
	}
	take("", true)
	if revs[0] != first || revs[1] != second || revs[2] <= second {
		t.Fatalf("revisions %v, put at %d and %d", revs, first, second)
	}
}

func watchWhole(t *testing.T, e Env) {
	start := put(t, e.A, "/t/w/x", "0")
	const rounds = 20
	for i := range rounds {
		put(t, e.A, "/t/w/a", fmt.Sprint(i), "/t/w/b", fmt.Sprint(i), "/t/w/c", fmt.Sprint(i))
	}
	next, stop := pull(t.Context(), e.B, "/t/w/", start)
	defer stop()
	seen := map[cluster.Rev]int{}
	for len(seen) < rounds {
		batch, err, ok := next()
		if err != nil || !ok {
			t.Fatal(err, ok)
		}
		for _, c := range batch {
			seen[c.Rev]++
		}
		for rev, n := range seen {
			if n != 3 {
				t.Fatalf("revision %d came with %d of its 3 changes", rev, n)
			}
		}
	}
}

func watchCompacted(t *testing.T, e Env) {
	start := put(t, e.A, "/t/w/a", "1")
	put(t, e.A, "/t/w/a", "2")
	last := put(t, e.A, "/t/w/a", "3")
	e.Compact(t, last)
	next, stop := pull(t.Context(), e.A, "/t/w/", start)
	defer stop()
	if batch, err, _ := next(); !errors.Is(err, coord.ErrCompacted) {
		t.Fatalf("watch from before the compaction: %v, %v", batch, err)
	}
	if _, _, ok := next(); ok {
		t.Fatal("the watch goes on after its error")
	}
}

func watchRewound(t *testing.T, e Env) {
	rev := put(t, e.A, "/t/w/a", "1")
	next, stop := pull(t.Context(), e.A, "/t/w/", rev+1000)
	defer stop()
	if batch, err, _ := next(); !errors.Is(err, coord.ErrRewound) {
		t.Fatalf("watch after a revision that never was: %v, %v", batch, err)
	}
}

func watchEnds(t *testing.T, e Env) {
	rev := put(t, e.A, "/t/w/a", "1")
	ctx, cancel := context.WithCancel(t.Context())
	next, stop := pull(ctx, e.A, "/t/w/", rev-1)
	defer stop()
	if _, err, _ := next(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err, ok := next(); err == nil || !ok || ctx.Err() == nil {
		t.Fatalf("after cancel: %v, %v", err, ok)
	}
	if _, _, ok := next(); ok {
		t.Fatal("the watch goes on after its context")
	}
}
