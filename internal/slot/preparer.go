package slot

import (
	"context"
	"time"
)

// prepareEvery is how often the journal is asked whether its next segment should be
// made ready; nearly always it need not.
const prepareEvery = 100 * time.Millisecond

// burst is how much the journal grows between two such looks when nothing is made
// ready: syncs are then shared by so many that a dearer one hardly matters, and the
// disk and the processor have better things to do than to write zeros.
const burst = 256 << 10

// prepareSegments keeps the journal's next segment ready until ctx ends. What goes
// wrong here only makes the journal slower, and the next append tells if it is more.
func (inc *incarnation) prepareSegments(ctx context.Context) {
	tick := time.NewTicker(prepareEvery)
	defer tick.Stop()
	end := inc.journal.End().LSN
	for {
		select {
		case <-tick.C:
			was := end
			if end = inc.journal.End().LSN; end-was > burst {
				continue
			}
			if err := inc.journal.Prepare(); err != nil && ctx.Err() == nil {
				inc.log.Warn("next journal segment not made ready", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}
