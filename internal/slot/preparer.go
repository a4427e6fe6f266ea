package slot

import (
	"context"
	"time"
)

// prepareEvery is how often the journal is asked whether its next segment should be
// made ready; nearly always it need not.
const prepareEvery = 100 * time.Millisecond

// prepareSegments keeps the journal's next segment ready until ctx ends. What goes
// wrong here only makes the journal slower, and the next append tells if it is more.
func (inc *incarnation) prepareSegments(ctx context.Context) {
	tick := time.NewTicker(prepareEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := inc.journal.Prepare(); err != nil && ctx.Err() == nil {
				inc.log.Warn("next journal segment not made ready", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}
