package disk

import (
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestBallastIsThrownOffOnceAndTakenOnWhenThereIsRoom: on a real file system, where it
// takes blocks.
func TestBallastIsThrownOffOnceAndTakenOnWhenThereIsRoom(t *testing.T) {
	path := t.TempDir() + "/ballast"
	avail := uint64(50 << 20)
	d := New(Config{
		Usage:   func() (vfs.DiskUsage, error) { return vfs.DiskUsage{TotalBytes: 100 << 20, AvailBytes: avail}, nil },
		Ballast: &Ballast{FS: vfs.Default, Path: path},
	})
	look := func() {
		t.Helper()
		if err := d.Refresh(); err != nil {
			t.Fatal(err)
		}
		d.keepBallast()
	}
	has := func(want bool) {
		t.Helper()
		var st syscall.Stat_t
		err := syscall.Stat(path, &st)
		if (err == nil) != want || want && st.Blocks*512 < 1<<20 {
			t.Fatalf("ballast has %d octets, %v; want %v, of a hundredth of the device", st.Blocks*512, err, want)
		}
	}
	look()
	has(true)
	for _, want := range []bool{true, false} {
		if had, err := d.Relieve(); had != want || err != nil {
			t.Errorf("relieved %v, %v; want %v", had, err, want)
		}
	}
	has(false)
	avail = 10 << 20 // between the watermarks
	look()
	has(false)
	avail = 50 << 20
	look()
	has(true)
}
