package index

import (
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
