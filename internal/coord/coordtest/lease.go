package coordtest

import (
	"errors"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

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
