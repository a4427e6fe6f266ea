package coordtest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tandemail/tandemail/internal/coord"
)

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
