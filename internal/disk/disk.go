// Package disk shares one device among the slots that live on it.
//
// A Disk schedules file syncs: every slot of a device hands its syncs to the
// same Disk, which runs a bounded number at a time in the order they were asked
// for, so that no slot starves another, and lets requests for one file that
// wait together share one sync. It counts and times them, says how long the
// oldest has been outstanding (the watchdog's question) and how full the device
// is. It never retries: a failed sync is the last word on that file, because
// the kernel may have dropped the pages and would call the next one a success.
//
// It is not a file system (that is vfs.FS) and knows no journal.
//
// Every method may be called from any goroutine. No lock is held during I/O, so
// that only File.Sync and Disk.Refresh wait for the device.
package disk

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Config of a Disk. The zero value works, but measures no space.
type Config struct {
	// MaxSyncs is how many syncs run at a time. Default 2: one being served by
	// the device, one on its way.
	MaxSyncs int
	// Usage asks the file system how full it is, e.g. vfs.FS.GetDiskUsage.
	// Nil: space is unknown and never refused.
	Usage func() (vfs.DiskUsage, error)
	// Ballast is kept by Run while there is room; nil: none.
	Ballast *Ballast
	// Interval between two space readings of Run. Default 10 s.
	Interval time.Duration
	// Now is the clock that times syncs. Default time.Now.
	Now func() time.Time
}

// Disk is one device's scheduler and gauge. Use New.
type Disk struct {
	cfg   Config
	count counters
	space atomic.Pointer[Space]
	turn  chan struct{} // full while somebody does long work

	mu      sync.Mutex
	queue   []*request // waiting, oldest first; at most one a file
	running map[*request]struct{}
	writes  map[*request]struct{} // that a Write waits for
}

// New returns a Disk. It starts nothing and touches no file.
func New(cfg Config) *Disk {
	if cfg.MaxSyncs <= 0 {
		cfg.MaxSyncs = 2
	}
	if cfg.Interval <= 0 {
		cfg.Interval = 10 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Disk{cfg: cfg, count: newCounters(), running: make(map[*request]struct{}), writes: make(map[*request]struct{}), turn: make(chan struct{}, 1)}
}

// Stats returns the counters since New.
func (d *Disk) Stats() Stats {
	s := d.count.snapshot()
	d.mu.Lock()
	s.Waiting, s.Running = len(d.queue), len(d.running)
	d.mu.Unlock()
	return s
}

// Waiting is how many syncs wait for their turn now.
func (d *Disk) Waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.queue)
}

// Write calls write, which writes to the device, and counts it as outstanding
// meanwhile: a device that hangs may hold a write as well as a sync.
func (d *Disk) Write(write func() error) error {
	r := &request{asked: d.cfg.Now()}
	d.mu.Lock()
	d.writes[r] = struct{}{}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.writes, r)
		d.mu.Unlock()
	}()
	return write()
}

// Outstanding returns the age of the oldest sync asked for, or Write begun, and not
// answered, 0 if there is none. It does not wait for the device: a value of seconds is
// how a hanging disk is recognised.
func (d *Disk) Outstanding() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	var since time.Time
	older := func(r *request) {
		if since.IsZero() || r.asked.Before(since) {
			since = r.asked
		}
	}
	for r := range d.running {
		older(r)
	}
	for r := range d.writes {
		older(r)
	}
	if len(d.queue) > 0 {
		older(d.queue[0])
	}
	if since.IsZero() {
		return 0
	}
	return d.cfg.Now().Sub(since)
}
