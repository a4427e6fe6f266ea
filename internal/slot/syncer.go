package slot

import (
	"context"

	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/replica"
)

// syncer makes the journal durable when the protocol asks, one sync at a time.
type syncer struct {
	journal *journal.Journal
	post    func(replica.Event)
	wake    chan struct{} // buffer of one
}

func (s *syncer) start() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *syncer) run(ctx context.Context) {
	for {
		select {
		case <-s.wake:
			lsn, err := s.journal.Sync()
			if err != nil {
				s.post(replica.DiskFailed{Reason: err.Error()})
				return
			}
			s.post(replica.Durable{LSN: lsn})
		case <-ctx.Done():
			return
		}
	}
}
