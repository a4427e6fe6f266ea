package index

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// What was compacted into the last level is found, and what is nowhere is not,
// although its filters are asked first.
func TestBatchFindsWhatTheLastLevelHas(t *testing.T) {
	fs := vfs.NewMem()
	d := mustOpen(t, Config{FS: fs, Dir: "index"})
	for i := range 200 {
		commit(t, d, i+1, fmt.Sprint("key", i), fmt.Sprint("value", i))
	}
	if _, err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := d.pebble.Compact(t.Context(), []byte("a"), []byte("z"), false); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = closing(t, mustOpen(t, Config{FS: fs, Dir: "index"})) // remembers nothing
	b := d.NewBatch()
	for i := range 200 {
		v, err := b.Get([]byte(fmt.Sprint("key", i)))
		if err != nil || string(v) != fmt.Sprint("value", i) {
			t.Fatalf("key%d: %q, %v", i, v, err)
		}
		if v, err := b.Get([]byte(fmt.Sprint("key", i, "x"))); v != nil || err != nil {
			t.Fatalf("a key that is nowhere: %q, %v", v, err)
		}
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// A change that leaves the position as it is, as of what only this copy has, is seen
// by the next snapshot like any other, and what is read in passing displaces nothing.
func TestColdBatchChangesAtTheSamePosition(t *testing.T) {
	d := closing(t, mustOpen(t, Config{FS: vfs.NewMem(), Dir: "index"}))
	commit(t, d, 1, "a", "old", "b", "kept")
	before, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	b := d.Cold()
	if v, err := b.Get([]byte("a")); string(v) != "old" || err != nil {
		t.Errorf("a: %q, %v", v, err)
	}
	if err := b.Set([]byte("a"), []byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Commit(d.Applied()), b.Close()); err != nil {
		t.Fatal(err)
	}
	after, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	was, _ := before.Get([]byte("a"))
	is, _ := after.Get([]byte("a"))
	if string(was) != "old" || string(is) != "new" || after.Applied() != at(1) {
		t.Errorf("before %q, after %q at %+v", was, is, after.Applied())
	}
	if err := errors.Join(before.Close(), after.Close()); err != nil {
		t.Error(err)
	}
	if _, ok := d.hot.get([]byte("a")); ok {
		t.Error("the applier remembers what it did in passing")
	}
	if v, ok := d.hot.get([]byte("b")); !ok || string(v) != "kept" {
		t.Errorf("b is remembered as %q, %v", v, ok)
	}
	w := d.NewBatch()
	if v, err := w.Get([]byte("a")); string(v) != "new" || err != nil {
		t.Errorf("the next batch reads %q, %v", v, err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
