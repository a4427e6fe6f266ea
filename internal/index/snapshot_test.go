package index

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestNobodySeesAnOlderStateAfterANewer: Pebble shows a commit before advance tells of
// it, and readers may come in between in any order.
func TestNobodySeesAnOlderStateAfterANewer(t *testing.T) {
	d := closing(t, mustOpen(t, Config{FS: vfs.NewMem(), Dir: "index"}))
	commit(t, d, 1, "key", "old")
	slow, err := d.take()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.pebble.Set([]byte(appliedKey), encodeApplied(at(2)), pebble.NoSync); err != nil { // a Commit in the middle
		t.Fatal(err)
	}
	seen, err := d.take()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.offer(slow, d.commits), d.offer(seen, d.commits)); err != nil { // seen by its caller from here on
		t.Fatal(err)
	}
	again, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if again.Applied() != at(2) || d.Applied() != at(2) {
		t.Errorf("a state at %d after one at %d", again.Applied().LSN, seen.pos.LSN)
	}
	if err := d.advance(at(2)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(slow.release(), seen.release(), again.Close()); err != nil {
		t.Error(err)
	}
}
