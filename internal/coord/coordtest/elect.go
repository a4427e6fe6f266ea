package coordtest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

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
