package coordtest

import (
	"fmt"
	"testing"

	"github.com/tandemail/tandemail/internal/coord"
)

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
