package coordtest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

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
