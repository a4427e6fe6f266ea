package index

import (
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestAFailedFlushLeavesNobodyWaiting: a goroutine that waits inside of Pebble for a flush
// which failed waits for ever, and keeps the closed DB in memory.
func TestAFailedFlushLeavesNobodyWaiting(t *testing.T) {
	var armed atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if armed.Load() && strings.HasSuffix(op.Path, ".sst") {
			return syscall.EIO
		}
		return nil
	}))
	d := mustOpen(t, Config{FS: fs, Dir: "index"})
	commit(t, d, 1, "a", "1")
	armed.Store(true)
	if _, err := d.Flush(); err == nil {
		t.Fatal("the flush did not fail")
	}
	_ = d.Close() // it has failed
	stacks := make([]byte, 1<<20)
	for range 10_000 { // those that end are given time for it
		all := string(stacks[:runtime.Stack(stacks, true)])
		if !strings.Contains(all, "pebble/v2.(*DB).Flush(") {
			return
		}
		runtime.Gosched()
	}
	t.Error("somebody waits in Pebble's Flush")
}
