package slot

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/tandemail/tandemail/internal/disk"
)

// prepareEvery is how often the journal is asked whether its next segment should be
// made ready; nearly always it need not.
const prepareEvery = 100 * time.Millisecond

// prepareSegments keeps the journal's next segment ready until ctx ends. What goes
// wrong here only makes the journal slower, and the next append tells if it is more:
// when one found no room, the ballast goes, so that expunges find some.
func (inc *incarnation) prepareSegments(ctx context.Context) {
	tick := time.NewTicker(prepareEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			err := inc.journal.Prepare()
			if err != nil && ctx.Err() == nil {
				inc.log.Warn("next journal segment not made ready", "err", err)
			}
			if inc.cramped.Swap(false) || errors.Is(err, syscall.ENOSPC) {
				inc.relieve(inc.cfg.Disk)
			}
		case <-ctx.Done():
			return
		}
	}
}

// relieve throws off the ballast of a disk that has no room for what gives room back.
func (s *Slot) relieve(d *disk.Disk) {
	switch had, err := d.Relieve(); {
	case err != nil:
		s.log.Warn("ballast stays where it is", "err", err)
	case had:
		s.log.Error("disk is full; its ballast was thrown off: make room")
	}
}
