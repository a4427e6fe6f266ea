package disk

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// device is a Syncer whose syncs take time, in a synctest bubble's virtual clock.
type device struct {
	took    time.Duration
	now     atomic.Int32 // syncs running
	most    atomic.Int32
	mu      sync.Mutex
	order   []string
	written map[string]int // by file, before the sync began
	durable map[string]int
}

type file struct {
	dev  *device
	name string
	err  error
}

func (f *file) SyncData() error {
	d := f.dev
	n := d.now.Add(1)
	defer d.now.Add(-1)
	for old := d.most.Load(); n > old && !d.most.CompareAndSwap(old, n); old = d.most.Load() {
	}
	d.mu.Lock()
	d.order = append(d.order, f.name)
	covered := d.written[f.name]
	d.mu.Unlock()
	time.Sleep(d.took) // virtual: the device at work
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.err == nil {
		d.durable[f.name] = covered
	}
	return f.err
}

func newDevice() *device {
	return &device{took: time.Millisecond, written: map[string]int{}, durable: map[string]int{}}
}

func TestSyncsAreBoundedAndFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dev, d := newDevice(), New(Config{})
		names := []string{"a", "b", "c", "d", "e", "f"}
		var wg sync.WaitGroup
		for _, n := range names {
			f := d.File(&file{dev: dev, name: n}, n)
			wg.Go(func() {
				if err := f.Sync(); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // asked for in this order
		}
		wg.Wait()
		if got := dev.most.Load(); got != 2 {
			t.Errorf("%d syncs ran at once, want 2", got)
		}
		for pair := range slices.Chunk(dev.order, 2) {
			slices.Sort(pair) // two begin at the same moment
		}
		if !slices.Equal(dev.order, names) {
			t.Errorf("order %v, want %v", dev.order, names)
		}
	})
}

func TestWaitingRequestsShareASyncThatCoversThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dev, d := newDevice(), New(Config{})
		f := d.File(&file{dev: dev, name: "a"}, "a")
		var wg sync.WaitGroup
		for i := 1; i <= 10; i++ {
			wg.Go(func() {
				dev.mu.Lock()
				dev.written["a"]++
				mine := dev.written["a"]
				dev.mu.Unlock()
				if err := f.Sync(); err != nil {
					t.Error(err)
				}
				dev.mu.Lock()
				defer dev.mu.Unlock()
				if dev.durable["a"] < mine {
					t.Errorf("write %d reported durable, the disk has %d", mine, dev.durable["a"])
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if s := d.Stats(); s.Syncs != 2 || s.Joined != 8 || s.Latency.Sum != 2*time.Millisecond {
			t.Errorf("stats %+v: want 2 syncs, 8 joined, 2 ms", s)
		}
	})
}

func TestFailedSyncIsFinalForItsFileOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dev, d := newDevice(), New(Config{})
		broken := errors.New("input/output error")
		raw := &file{dev: dev, name: "bad", err: broken}
		bad, good := d.File(raw, "bad"), d.File(&file{dev: dev, name: "good"}, "good")
		var wg sync.WaitGroup
		for range 3 { // one runs, two share the next, which must not be tried
			wg.Go(func() {
				if err := bad.Sync(); !errors.Is(err, broken) {
					t.Errorf("sync: %v, want %v", err, broken)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		raw.err = nil // the kernel would now say success
		if err := bad.Sync(); !errors.Is(err, broken) {
			t.Errorf("later sync: %v, want the first error", err)
		}
		if err := good.Sync(); err != nil {
			t.Error(err)
		}
		if s := d.Stats(); s.Syncs != 2 || s.Failed != 1 {
			t.Errorf("%d syncs, %d failed; want 2 and 1", s.Syncs, s.Failed)
		}
	})
}

func TestOutstandingShowsAHangingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dev, d := newDevice(), New(Config{MaxSyncs: 1})
		dev.took = time.Minute
		var wg sync.WaitGroup
		for _, n := range []string{"a", "b"} {
			f := d.File(&file{dev: dev, name: n}, n)
			wg.Go(func() { _ = f.Sync() })
		}
		synctest.Wait()
		time.Sleep(7 * time.Second) // virtual
		if got := d.Outstanding(); got != 7*time.Second {
			t.Errorf("outstanding %v, want 7s", got)
		}
		if s := d.Stats(); s.Running != 1 || s.Waiting != 1 || d.Waiting() != 1 {
			t.Errorf("running %d waiting %d, want 1 and 1", s.Running, s.Waiting)
		}
		wg.Wait()
		if got := d.Outstanding(); got != 0 {
			t.Errorf("outstanding %v when idle", got)
		}
	})
}

func TestOutstandingShowsAWriteThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, broken := New(Config{}), errors.New("input/output error")
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := d.Write(func() error { time.Sleep(time.Minute); return broken }); !errors.Is(err, broken) { // virtual
				t.Errorf("write: %v", err)
			}
		})
		synctest.Wait()
		time.Sleep(7 * time.Second) // virtual
		if got := d.Outstanding(); got != 7*time.Second {
			t.Errorf("outstanding %v, want 7s", got)
		}
		wg.Wait()
		if got := d.Outstanding(); got != 0 {
			t.Errorf("outstanding %v when idle", got)
		}
	})
}

func TestWatermarks(t *testing.T) {
	for _, c := range []struct {
		total, avail uint64
		percent      int
		want         Level
	}{
		{0, 0, 0, Plenty},
		{1000, 1000, 0, Plenty},
		{1000, 201, 80, Warn}, // 79.9 % is rounded up
		{1000, 210, 79, Plenty},
		{1000, 90, 91, Warn},
		{1000, 80, 92, Refuse},
		{1000, 0, 100, Refuse},
		{1 << 63, 1 << 62, 50, Plenty},
		{100, 200, 0, Plenty}, // a file system that contradicts itself
	} {
		s := Space{Total: c.total, Avail: c.avail}
		if s.UsedPercent() != c.percent || s.Level() != c.want {
			t.Errorf("%+v: %d %% %v, want %d %% %v", s, s.UsedPercent(), s.Level(), c.percent, c.want)
		}
	}
}

func TestRunKeepsTheLastReadingWhenAskingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		d := New(Config{Usage: func() (vfs.DiskUsage, error) {
			if broken.Load() {
				return vfs.DiskUsage{}, errors.New("stale handle")
			}
			return vfs.DiskUsage{TotalBytes: 100, AvailBytes: 5}, nil
		}})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = d.Run(ctx) })
		synctest.Wait()
		first := d.Space()
		broken.Store(true)
		time.Sleep(11 * time.Second) // virtual
		s := d.Space()
		if s.Level() != Refuse || s.Err == nil || !s.At.Equal(first.At) {
			t.Errorf("after a failed reading: %+v, want the figures of %v and an error", s, first.At)
		}
		cancel()
		wg.Wait()
	})
}
