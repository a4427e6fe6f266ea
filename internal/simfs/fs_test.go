package simfs

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func create(t *testing.T, fs *FS, name string) vfs.File {
	t.Helper()
	f, err := fs.OpenReadWrite(name, "")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t *testing.T, f vfs.File, at int64, octets string) {
	t.Helper()
	if _, err := f.WriteAt([]byte(octets), at); err != nil {
		t.Fatal(err)
	}
}

func syncAll(t *testing.T, fs *FS, files ...vfs.File) {
	t.Helper()
	d, err := fs.OpenDir("d")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, d) {
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
}

// read returns what a name holds, "absent" if there is none.
func read(t *testing.T, fs *FS, name string) string {
	t.Helper()
	f, err := fs.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return "absent"
	}
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil && len(b) > 0 {
		t.Fatal(err)
	}
	return string(bytes.TrimRight(b, "\x00"))
}

// outcomes runs a loss of power many times and returns what was left of a name.
func outcomes(t *testing.T, fs *FS, name string) map[string]bool {
	t.Helper()
	seen := map[string]bool{}
	for seed := range uint64(60) {
		c := fs.Clone()
		c.PowerLoss(rand.New(rand.NewPCG(seed, 1)))
		seen[read(t, c, name)] = true
	}
	return seen
}

func only(t *testing.T, got map[string]bool, want ...string) {
	t.Helper()
	for _, w := range want {
		if !got[w] {
			t.Errorf("never %.20q among %d outcomes", w, len(got))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d outcomes, want %d", len(got), len(want))
	}
}

func TestPowerLossKeepsWhatWasSyncedAndAnyPartOfTheRest(t *testing.T) {
	fs := New()
	f := create(t, fs, "d/a")
	write(t, f, 0, "one")
	only(t, outcomes(t, fs, "d/a"), "absent", "", "one")
	syncAll(t, fs, f)
	write(t, f, 0, "two")
	write(t, f, sector, "far")
	far := string(make([]byte, sector-3)) + "far"
	only(t, outcomes(t, fs, "d/a"), "one", "two", "one"+far, "two"+far)
	syncAll(t, fs, f)
	only(t, outcomes(t, fs, "d/a"), "two"+far)
}

func TestARenameIsDoneOrNot(t *testing.T) {
	fs := New()
	f := create(t, fs, "d/a")
	write(t, f, 0, "x")
	syncAll(t, fs, f)
	if err := fs.Rename("d/a", "d/b"); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(20) {
		c := fs.Clone()
		c.PowerLoss(rand.New(rand.NewPCG(seed, 1)))
		if a, b := read(t, c, "d/a"), read(t, c, "d/b"); (a == "x") == (b == "x") {
			t.Errorf("a is %q and b is %q", a, b)
		}
	}
	syncAll(t, fs)
	only(t, outcomes(t, fs, "d/b"), "x")
}

func TestAFailedSyncLosesWhatCanStillBeRead(t *testing.T) {
	fs := New()
	f := create(t, fs, "d/a")
	syncAll(t, fs, f)
	write(t, f, 0, "x")
	fs.FailSyncs(1)
	if err := f.SyncData(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync: %v", err)
	}
	syncAll(t, fs, f) // all is clean, says the kernel
	if got := read(t, fs, "d/a"); got != "x" {
		t.Errorf("the page cache has %q", got)
	}
	only(t, outcomes(t, fs, "d/a"), "")
	evicted := fs.Clone()
	evicted.Evict()
	if got := read(t, evicted, "d/a"); got != "" {
		t.Errorf("evicted, it reads %q", got)
	}
	write(t, f, 0, "x")
	syncAll(t, fs, f)
	only(t, outcomes(t, fs, "d/a"), "x")
}

func TestAFullDiskTakesWhatFits(t *testing.T) {
	fs := New()
	f := create(t, fs, "d/a")
	if err := f.Preallocate(0, 4); err != nil {
		t.Fatal(err)
	}
	fs.SetRoom(2)
	if n, err := f.WriteAt([]byte("12345678"), 0); n != 6 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("wrote %d, %v; want the four that were reserved and two more", n, err)
	}
	if err := f.Preallocate(0, 7); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("reserved: %v", err)
	}
	write(t, f, 0, "abc")
	fs.SetRoom(-1)
	write(t, f, 6, "78")
	if got := read(t, fs, "d/a"); got != "abc45678" {
		t.Errorf("it reads %q", got)
	}
}

func TestNothingHappensWithoutPower(t *testing.T) {
	fs := New()
	f := create(t, fs, "d/a")
	fs.StopAfter(2)
	write(t, f, 0, "x")
	if err := f.SyncData(); !errors.Is(err, ErrOff) || !fs.Off() {
		t.Errorf("second step: %v", err)
	}
	if _, err := f.WriteAt([]byte("y"), 0); !errors.Is(err, ErrOff) {
		t.Errorf("third step: %v", err)
	}
	if err := fs.Rename("d/a", "d/b"); !errors.Is(err, ErrOff) {
		t.Errorf("fourth step: %v", err)
	}
	fs.PowerLoss(rand.New(rand.NewPCG(1, 1)))
	create(t, fs, "d/c")
}

func TestAFlippedBitStaysFlipped(t *testing.T) {
	fs := New()
	f := create(t, fs, "d/a")
	write(t, f, 0, "a")
	syncAll(t, fs, f)
	fs.Flip("d/a", 0, 1)
	only(t, outcomes(t, fs, "d/a"), "c")
}
