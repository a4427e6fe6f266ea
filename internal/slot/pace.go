package slot

import (
	"context"
	"time"

	"github.com/tandemail/tandemail/internal/disk"
)

// pace holds work in the background back: to so many octets a second, and, for a
// while, as long as syncs wait for their turn on a disk, since those are what somebody
// waits for. One goroutine.
type pace struct {
	rate  int64 // octets a second
	disks []*disk.Disk
	clock func() time.Duration
	sleep func(ctx context.Context, d time.Duration) error

	taken int64         // since the last look
	due   time.Duration // when the next octets are
}

// paceStep is how many octets go between two looks at the clock and the disks. On a
// disk whose queue is never empty each step is put off by paceMost and no more, which
// leaves 5 MiB/s: a busy slot must not fall behind for ever.
const (
	paceStep = 256 << 10
	paceLook = 5 * time.Millisecond
	paceMost = 50 * time.Millisecond
)

func newPace(cfg *Config, rate int64) *pace {
	return &pace{rate: rate, disks: []*disk.Disk{cfg.Disk, cfg.spoolDisk()}, clock: cfg.Clock, sleep: sleep}
}

// take waits until so many octets may be read or written. Its error is ctx's.
func (p *pace) take(ctx context.Context, octets int) error {
	if p.taken += int64(octets); p.taken < paceStep {
		return ctx.Err()
	}
	now := p.clock()
	p.due = max(p.due, now) + time.Duration(p.taken*int64(time.Second)/p.rate)
	p.taken = 0
	if err := p.sleep(ctx, p.due-now); err != nil {
		return err
	}
	for put := time.Duration(0); put < paceMost && p.busy(); put += paceLook {
		if err := p.sleep(ctx, paceLook); err != nil {
			return err
		}
	}
	return nil
}

func (p *pace) busy() bool {
	for _, d := range p.disks {
		if d.Waiting() > 0 {
			return true
		}
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
