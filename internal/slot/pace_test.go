package slot

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/disk"
)

// stuckFile is a file whose syncs wait.
type stuckFile chan struct{}

func (f stuckFile) SyncData() error { <-f; return nil }

func TestBackgroundWorkIsPaced(t *testing.T) {
	var now time.Duration
	d := disk.New(disk.Config{MaxSyncs: 1})
	p := &pace{
		rate: 1 << 20, disks: []*disk.Disk{d}, clock: func() time.Duration { return now },
		sleep: func(_ context.Context, d time.Duration) error { now += d; return nil },
	}
	fourMiB := func() time.Duration {
		begun := now
		for range 1 << 10 {
			if err := p.take(t.Context(), 1<<12); err != nil {
				t.Fatal(err)
			}
		}
		return now - begun
	}
	if took := fourMiB(); took != 4*time.Second {
		t.Errorf("4 MiB at 1 MiB/s took %v", took)
	}
	p.rate = 1 << 40
	if took := fourMiB(); took > time.Millisecond {
		t.Errorf("without a limit it took %v", took)
	}
	file, done := make(stuckFile), make(chan error)
	for _, name := range []string{"first", "second"} { // one runs, one waits
		go func() { done <- d.File(file, name).Sync() }()
	}
	for d.Waiting() == 0 {
		runtime.Gosched()
	}
	if took := fourMiB(); took < 16*paceMost || took > 17*paceMost {
		t.Errorf("beside syncs that wait it took %v", took)
	}
	close(file)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
