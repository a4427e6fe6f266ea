// Package coordtest is the conformance suite of coord.Coord. Run it against
// every implementation: what holds for the twin in memory then holds for etcd.
package coordtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// Env is one coordinator, empty below the prefix "/t/", seen by two clients.
type Env struct {
	A, B coord.Coord
	// Compact forgets the history at or below rev.
	Compact func(t *testing.T, rev cluster.Rev)
	// MinTTL is the shortest lease the coordinator grants.
	MinTTL time.Duration
}

// Run runs the suite; open is called once for each test.
func Run(t *testing.T, open func(t *testing.T) Env) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, e Env)
	}{
		{"MissingKeyHasRevisionZero", missingKey},
		{"TxnComparesRevisions", comparesRevisions},
		{"TxnIsAllOrNothing", allOrNothing},
		{"TxnDeletesAndCreatesAgain", deletes},
		{"TxnRefusesWhatIsOverItsBounds", bounds},
		{"OneOfManyRacingWritersWins", race},
		{"ListIsOrderedAndOfOneRevision", list},
		{"WatchTellsEveryChangeInOrder", watchOrder},
		{"WatchBatchesAreWholeRevisions", watchWhole},
		{"WatchAfterCompactionSaysSo", watchCompacted},
		{"WatchBeyondThePresentIsARewind", watchRewound},
		{"WatchEndsWithItsContext", watchEnds},
		{"LeaseKeepsItsKeysAndCloseDeletesThem", leaseClose},
		{"LeaseOutlivesItsTTLWhileRenewed", leaseRenewed},
		{"LostLeaseRefusesTransactions", leaseRefuses},
		{"AnotherLeaseTakesAKeyOver", leaseTakeover},
		{"FollowMirrorsAPrefix", follow},
		{"ElectionHasOneHolderAndASuccessor", elect},
		{"ElectionTakesOverFromASuspect", electSuspect},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// put commits an unconditional put and returns its revision.
func put(t *testing.T, c coord.Coord, kvs ...string) cluster.Rev {
	t.Helper()
	var txn coord.Txn
	for i := 0; i < len(kvs); i += 2 {
		txn.Then = append(txn.Then, coord.Put(kvs[i], []byte(kvs[i+1])))
	}
	ok, rev, err := c.Txn(t.Context(), txn)
	if err != nil || !ok {
		t.Fatalf("put %q: %v, %v", kvs, ok, err)
	}
	return rev
}

func wantKey(t *testing.T, c coord.Coord, key, value string, rev cluster.Rev) {
	t.Helper()
	v, r, err := c.Get(t.Context(), key)
	if err != nil || string(v) != value || r != rev {
		t.Fatalf("get %s: %q at %d, %v; want %q at %d", key, v, r, err, value, rev)
	}
}

func missingKey(t *testing.T, e Env) {
	wantKey(t, e.A, "/t/none", "", 0)
}

func comparesRevisions(t *testing.T, e Env) {
	r1 := put(t, e.A, "/t/a", "1")
	wantKey(t, e.B, "/t/a", "1", r1)
	try := func(rev cluster.Rev, value string) (bool, cluster.Rev) {
		ok, got, err := e.B.Txn(t.Context(), coord.Txn{
			If:   []coord.Compare{{Key: "/t/a", Rev: rev}},
			Then: []coord.Op{coord.Put("/t/a", []byte(value))},
		})
		if err != nil {
			t.Fatal(err)
		}
		return ok, got
	}
	for _, wrong := range []cluster.Rev{0, r1 - 1, r1 + 1} {
		if ok, _ := try(wrong, "bad"); ok {
			t.Fatalf("revision %d was taken for %d", wrong, r1)
		}
	}
	wantKey(t, e.A, "/t/a", "1", r1)
	ok, r2 := try(r1, "2")
	if !ok || r2 <= r1 {
		t.Fatalf("right revision: %v at %d after %d", ok, r2, r1)
	}
	wantKey(t, e.A, "/t/a", "2", r2)
}

func allOrNothing(t *testing.T, e Env) {
	r := put(t, e.A, "/t/a", "1")
	txn := coord.Txn{
		If:   []coord.Compare{{Key: "/t/a", Rev: r}, {Key: "/t/b", Rev: 7}},
		Then: []coord.Op{coord.Put("/t/a", []byte("2")), coord.Put("/t/c", nil)},
	}
	if ok, _, err := e.A.Txn(t.Context(), txn); ok || err != nil {
		t.Fatalf("one comparison of two holds: %v, %v", ok, err)
	}
	wantKey(t, e.B, "/t/a", "1", r)
	wantKey(t, e.B, "/t/c", "", 0)
	txn.If[1].Rev = 0
	ok, r2, err := e.A.Txn(t.Context(), txn)
	if !ok || err != nil {
		t.Fatalf("both hold: %v, %v", ok, err)
	}
	wantKey(t, e.B, "/t/a", "2", r2)
	wantKey(t, e.B, "/t/c", "", r2)
}

func deletes(t *testing.T, e Env) {
	r := put(t, e.A, "/t/a", "1")
	ok, _, err := e.A.Txn(t.Context(), coord.Txn{
		If:   []coord.Compare{{Key: "/t/a", Rev: r}},
		Then: []coord.Op{coord.Delete("/t/a"), coord.Delete("/t/never-was")},
	})
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	wantKey(t, e.B, "/t/a", "", 0)
	ok, again, err := e.B.Txn(t.Context(), coord.Txn{
		If:   []coord.Compare{{Key: "/t/a", Rev: 0}},
		Then: []coord.Op{coord.Put("/t/a", []byte("2"))},
	})
	if !ok || err != nil || again <= r {
		t.Fatalf("created again: %v at %d after %d, %v", ok, again, r, err)
	}
}

func bounds(t *testing.T, e Env) {
	var many coord.Txn
	for i := range coord.MaxOps {
		many.Then = append(many.Then, coord.Put(fmt.Sprint("/t/", i), nil))
		many.If = append(many.If, coord.Compare{Key: fmt.Sprint("/t/", i)})
	}
	if ok, _, err := e.A.Txn(t.Context(), many); !ok || err != nil {
		t.Fatalf("%d operations: %v, %v", coord.MaxOps, ok, err)
	}
	many.Then = append(many.Then, coord.Put("/t/more", nil))
	if _, _, err := e.A.Txn(t.Context(), many); !errors.Is(err, coord.ErrTooMany) {
		t.Fatalf("one more: %v", err)
	}
	large := coord.Txn{Then: []coord.Op{coord.Put("/t/large", make([]byte, coord.MaxValue))}}
	if ok, _, err := e.A.Txn(t.Context(), large); !ok || err != nil {
		t.Fatalf("largest value: %v, %v", ok, err)
	}
	large.Then[0].Value = make([]byte, coord.MaxValue+1)
	if _, _, err := e.A.Txn(t.Context(), large); !errors.Is(err, coord.ErrTooMany) {
		t.Fatalf("one octet more: %v", err)
	}
	twice := coord.Txn{Then: []coord.Op{coord.Put("/t/x", nil), coord.Delete("/t/x")}}
	if _, _, err := e.A.Txn(t.Context(), twice); err == nil || errors.Is(err, coord.ErrUnknown) {
		t.Fatalf("one key twice: %v", err)
	}
}

func race(t *testing.T, e Env) {
	rev := put(t, e.A, "/t/a", "0")
	var mu sync.Mutex
	var winners []cluster.Rev
	var wg sync.WaitGroup
	for i := range 16 {
		c := []coord.Coord{e.A, e.B}[i%2]
		wg.Go(func() {
			ok, r, err := c.Txn(t.Context(), coord.Txn{
				If:   []coord.Compare{{Key: "/t/a", Rev: rev}},
				Then: []coord.Op{coord.Put("/t/a", fmt.Append(nil, i))},
			})
			if err != nil {
				t.Error(err)
			}
			if ok {
				mu.Lock()
				winners = append(winners, r)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(winners) != 1 {
		t.Fatalf("%d writers won", len(winners))
	}
	if _, r, err := e.A.Get(t.Context(), "/t/a"); err != nil || r != winners[0] {
		t.Fatalf("the winner's revision is %d, the key's %d, %v", winners[0], r, err)
	}
}

func list(t *testing.T, e Env) {
	ra := put(t, e.A, "/t/b/2", "two", "/t/b/1", "one")
	rb := put(t, e.A, "/t/b/10", "ten")
	put(t, e.A, "/t/c", "other", "/t/b", "itself has no slash")
	got, rev, err := e.B.List(t.Context(), "/t/b/")
	if err != nil {
		t.Fatal(err)
	}
	want := []coord.KV{{Key: "/t/b/1", Value: []byte("one"), Rev: ra}, {Key: "/t/b/10", Value: []byte("ten"), Rev: rb}, {Key: "/t/b/2", Value: []byte("two"), Rev: ra}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("list: %v, want %v", got, want)
	}
	if rev <= rb {
		t.Fatalf("listed at %d, before the last change", rev)
	}
	if none, _, err := e.B.List(t.Context(), "/t/none/"); err != nil || len(none) != 0 {
		t.Fatalf("empty list: %v, %v", none, err)
	}
}

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

func leasePut(t *testing.T, l coord.Lease, key, value string) cluster.Rev {
	t.Helper()
	ok, rev, err := l.Txn(t.Context(), coord.Txn{Then: []coord.Op{coord.Put(key, []byte(value))}})
	if err != nil || !ok {
		t.Fatalf("put %s by lease: %v, %v", key, ok, err)
	}
	return rev
}

func leaseClose(t *testing.T, e Env) {
	l := must[coord.Lease](t)(e.A.Lease(t.Context(), time.Minute))
	rev := leasePut(t, l, "/t/live/a", "1")
	put(t, e.A, "/t/live/b", "no lease")
	wantKey(t, e.B, "/t/live/a", "1", rev)
	select {
	case <-l.Lost():
		t.Fatal("lost at once")
	default:
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-l.Lost()
	wantKey(t, e.B, "/t/live/a", "", 0)
	if v, _, _ := e.B.Get(t.Context(), "/t/live/b"); string(v) != "no lease" {
		t.Fatal("a key without a lease went with it")
	}
}

func leaseRenewed(t *testing.T, e Env) {
	l := must[coord.Lease](t)(e.A.Lease(t.Context(), e.MinTTL))
	defer l.Close(t.Context())
	rev := leasePut(t, l, "/t/live/a", "1")
	later := time.NewTimer(3 * e.MinTTL / 2)
	defer later.Stop()
	select {
	case <-l.Lost():
		t.Fatal("lost though it could be renewed")
	case <-later.C:
	}
	wantKey(t, e.B, "/t/live/a", "1", rev)
}

func leaseRefuses(t *testing.T, e Env) {
	l := must[coord.Lease](t)(e.A.Lease(t.Context(), time.Minute))
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, _, err := l.Txn(t.Context(), coord.Txn{Then: []coord.Op{coord.Put("/t/a", nil)}})
	if !errors.Is(err, coord.ErrLeaseLost) {
		t.Fatalf("transaction by a closed lease: %v", err)
	}
	wantKey(t, e.B, "/t/a", "", 0)
}

func leaseTakeover(t *testing.T, e Env) {
	first := must[coord.Lease](t)(e.A.Lease(t.Context(), time.Minute))
	second := must[coord.Lease](t)(e.B.Lease(t.Context(), time.Minute))
	defer second.Close(t.Context())
	leasePut(t, first, "/t/k", "first")
	rev := leasePut(t, second, "/t/k", "second")
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKey(t, e.A, "/t/k", "second", rev)
}

func follow(t *testing.T, e Env) {
	put(t, e.A, "/t/f/1/a", "1", "/t/f/2/b", "2")
	ctx, cancel := context.WithCancel(t.Context())
	updates := make(chan coord.Update)
	done := make(chan error, 1)
	go func() {
		done <- coord.Follow(ctx, e.B, coord.Following{Prefix: "/t/f/", Lists: []string{"/t/f/1/", "/t/f/2/"}}, func(u coord.Update) {
			select {
			case updates <- u:
			case <-ctx.Done():
			}
		})
	}()
	mirror := map[string]string{}
	until := func(want map[string]string) {
		t.Helper()
		for live := false; !live || fmt.Sprint(mirror) != fmt.Sprint(want); {
			u := <-updates
			live = u.Live
			for _, kv := range u.All {
				mirror[kv.Key] = string(kv.Value)
			}
			for _, c := range u.Changes {
				mirror[c.Key] = string(c.Value)
				if c.Deleted {
					delete(mirror, c.Key)
				}
			}
		}
	}
	until(map[string]string{"/t/f/1/a": "1", "/t/f/2/b": "2"})
	put(t, e.A, "/t/f/1/c", "3")
	_, _, err := e.A.Txn(t.Context(), coord.Txn{Then: []coord.Op{coord.Delete("/t/f/2/b")}})
	if err != nil {
		t.Fatal(err)
	}
	until(map[string]string{"/t/f/1/a": "1", "/t/f/1/c": "3"})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// stand runs a candidate; the channel gets every term it wins.
func stand(t *testing.T, c coord.Coord, e coord.Election) (won <-chan coord.Term, stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	terms := make(chan coord.Term, 8)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = coord.Elect(ctx, c, e, func(ctx context.Context, term coord.Term) {
			terms <- term
			<-ctx.Done()
		})
	}()
	return terms, sync.OnceFunc(func() {
		cancel()
		<-done
	})
}

func elect(t *testing.T, e Env) {
	election := func(m string) coord.Election {
		return coord.Election{Key: "/t/elect", Machine: cluster.Machine(m), TTL: time.Minute, Poll: 20 * time.Millisecond}
	}
	a, stopA := stand(t, e.A, election("a"))
	defer stopA()
	first := <-a
	b, stopB := stand(t, e.B, election("b"))
	defer stopB()
	guarded := func(c coord.Coord, term coord.Term) bool {
		ok, _, err := c.Txn(t.Context(), coord.Txn{If: []coord.Compare{term.Guard()}, Then: []coord.Op{coord.Put("/t/done", nil)}})
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !guarded(e.A, first) {
		t.Fatal("the holder's guard does not hold")
	}
	select {
	case <-b:
		t.Fatal("two holders")
	default:
	}
	stopA()
	second := <-b // long before the TTL of a minute
	if second.Rev <= first.Rev {
		t.Fatalf("term %d after %d", second.Rev, first.Rev)
	}
	if guarded(e.A, first) || !guarded(e.B, second) {
		t.Fatal("the first holder's guard still holds, or the second's does not")
	}
}

func electSuspect(t *testing.T, e Env) {
	base := coord.Election{Key: "/t/elect", TTL: time.Minute, Poll: 20 * time.Millisecond}
	ea, eb := base, base
	ea.Machine, eb.Machine = "a", "b"
	eb.Suspect = func(holder cluster.Machine) bool { return holder == "a" }
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	won := make(chan coord.Term, 8)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		_ = coord.Elect(ctx, e.A, ea, func(ctx context.Context, term coord.Term) {
			won <- term
			<-ctx.Done()
			select {
			case <-ended:
			default:
				close(ended)
			}
		})
	}()
	defer func() { cancel(); <-finished }()
	first := <-won
	b, stopB := stand(t, e.B, eb)
	defer stopB()
	second := <-b
	<-ended // the one taken over notices without losing its lease
	if second.Rev <= first.Rev {
		t.Fatalf("term %d after %d", second.Rev, first.Rev)
	}
}
