package disk

import (
	"context"
	"fmt"
	"math/bits"
	"time"
)

// Watermarks, in percent of the device that is not available to us.
const (
	WarnPercent   = 80
	RefusePercent = 92
)

// Level says what a device's fullness means.
type Level int

const (
	Plenty Level = iota // or never measured
	Warn                // tell somebody
	Refuse              // no new octets; flags, expunges and moves go on
)

// String is one word for messages and metrics.
func (l Level) String() string {
	switch l {
	case Warn:
		return "warn"
	case Refuse:
		return "refuse"
	}
	return "plenty"
}

// Space is one reading of a device's fullness.
type Space struct {
	Total, Avail uint64    // octets; what only root may use is not available
	At           time.Time // when it was read; zero if never
	Err          error     // why the latest reading failed; the figures are then older
}

// UsedPercent is rounded up, so that a watermark is met early and never late.
func (s Space) UsedPercent() int {
	if s.Total == 0 {
		return 0
	}
	used := s.Total - min(s.Avail, s.Total)
	hi, lo := bits.Mul64(used, 100)
	percent, rest := bits.Div64(hi, lo, s.Total) // used <= Total: cannot overflow
	if rest > 0 {
		percent++
	}
	return int(percent)
}

// Level compares s with the watermarks.
func (s Space) Level() Level {
	switch used := s.UsedPercent(); {
	case used >= RefusePercent:
		return Refuse
	case used >= WarnPercent:
		return Warn
	}
	return Plenty
}

// Space returns the latest reading without touching the device: on a hanging
// disk its age grows instead.
func (d *Disk) Space() Space {
	if s := d.space.Load(); s != nil {
		return *s
	}
	return Space{}
}

// Refresh takes a reading now. It may block as long as the device does.
func (d *Disk) Refresh() error {
	if d.cfg.Usage == nil {
		return nil
	}
	u, err := d.cfg.Usage()
	s := Space{Total: u.TotalBytes, Avail: u.AvailBytes, At: d.cfg.Now()}
	if err != nil {
		s = d.Space()
		s.Err = fmt.Errorf("ask for free space: %w", err)
	}
	d.space.Store(&s)
	return s.Err
}

// Run refreshes the reading until ctx ends, and keeps the ballast. A failed reading is
// kept in Space.Err.
func (d *Disk) Run(ctx context.Context) error {
	t := time.NewTicker(d.cfg.Interval)
	defer t.Stop()
	for {
		_ = d.Refresh() // kept in Space.Err
		d.keepBallast()
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}
