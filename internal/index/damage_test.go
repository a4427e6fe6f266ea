package index

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestDamagedTableFailsTheIndexAndNothingElse: whichever of its octets are wrong and
// whoever meets them, closing included, which Pebble answers with a panic after some.
func TestDamagedTableFailsTheIndexAndNothingElse(t *testing.T) {
	mem := vfs.NewCrashableMem()
	d := mustOpen(t, Config{FS: mem, Dir: "index"})
	for i := range 200 {
		commit(t, d, i+1, fmt.Sprintf("key %04d", i), strings.Repeat(fmt.Sprint(i), 300))
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for at := int64(0); ; at += 97 {
		fs := mem.CrashClone(vfs.CrashCloneCfg{})
		if !flipTable(t, fs, at) {
			break
		}
		if readsAnError(Config{FS: fs, Dir: "index"}) {
			failed++
		}
	}
	if failed < 10 {
		t.Errorf("only %d damaged places were met", failed)
	}
}

// TestABatchOfAFailedIndexIsClosed: what it read with would have Pebble panic.
func TestABatchOfAFailedIndexIsClosed(t *testing.T) {
	d := mustOpen(t, Config{FS: vfs.NewMem(), Dir: "index"})
	commit(t, d, 1, "a", "1")
	if _, err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	b := d.NewBatch()
	if v, err := b.Get([]byte("a")); err != nil || string(v) != "1" {
		t.Fatalf("%q, %v", v, err)
	}
	_ = d.fail(errors.New("broken"))
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := d.pebble.Close(); err != nil { // would panic
		t.Error(err)
	}
}

// flipTable changes one octet of the only table; false if it is not that long.
func flipTable(t *testing.T, fs vfs.FS, at int64) bool {
	t.Helper()
	names, err := fs.List("index")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		f, err := fs.OpenReadWrite(fs.PathJoin("index", name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, at); err != nil {
			return false
		}
		b[0] ^= 16
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
		return true
	}
	t.Fatal("there is no table")
	return false
}

// readsAnError opens the index, reads everything and closes it.
func readsAnError(cfg Config) bool {
	d, err := Open(cfg)
	if err != nil {
		return true
	}
	s, err := d.Snapshot()
	if err == nil {
		for range s.Scan([]byte("key"), []byte("kez")) {
		}
		err = s.Err()
		_, errGet := s.Get([]byte("key 0100"))
		_ = s.Close()
		return d.Close() != nil || err != nil || errGet != nil
	}
	return d.Close() != nil
}
