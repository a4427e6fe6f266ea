package index

import (
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestSnapshotIsClosedThoughItsCloserWaitsForAFlush has the MANIFEST fail under a flush,
// for whose lock the closing of a snapshot waits.
func TestSnapshotIsClosedThoughItsCloserWaitsForAFlush(t *testing.T) {
	reached, goOn := make(chan struct{}), make(chan struct{})
	var armed atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !strings.Contains(op.Path, "MANIFEST") || !armed.CompareAndSwap(true, false) {
			return nil
		}
		close(reached)
		<-goOn
		return syscall.EIO
	}))
	d := mustOpen(t, Config{FS: fs, Dir: "index"})
	commit(t, d, 1, "a", "1")
	old, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	commit(t, d, 2, "a", "2")
	newer, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	go func() { _, _ = d.Flush() }() // it fails
	<-reached
	closed := make(chan error, 1)
	go func() { closed <- old.Close() }()
	stacks := make([]byte, 1<<20)
	for !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "logLock") {
		select {
		case err := <-closed:
			t.Skipf("it did not wait: %v", err)
		default:
			runtime.Gosched()
		}
	}
	close(goOn)
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for ever")
	}
	if err := newer.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err == nil {
		t.Error("an index that failed is closed without an error")
	}
}
