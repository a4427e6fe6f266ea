package slot

import (
	"context"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// serving is what readers may know of the protocol: whether this slot is master
// and until when reads are fresh. The loop writes it in the protocol's order;
// readers look after their command has arrived.
type serving struct {
	clock func() time.Duration

	mu      sync.Mutex
	epoch   cluster.Epoch // 0: not master
	since   time.Duration // epoch is served
	until   time.Duration
	changed chan struct{} // closed and replaced at each change
}

func newServing(clock func() time.Duration) *serving {
	return &serving{clock: clock, changed: make(chan struct{})}
}

func (s *serving) set(change func(*serving)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
	close(s.changed)
	s.changed = make(chan struct{})
}

// master returns the epoch this slot serves, 0 if it is not the master.
func (s *serving) master() cluster.Epoch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// lasts returns how long this slot has served its epoch, 0 if it is not the master.
func (s *serving) lasts() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch == 0 {
		return 0
	}
	return s.clock() - s.since
}

// watch returns the epoch served and what tells that something has changed.
func (s *serving) watch() (cluster.Epoch, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch, s.changed
}

// awaitRead returns as soon as a read may be answered: at once on a healthy
// master; after the replica's next confirmation when that is late. mail.ErrMoved
// when this slot is no master.
func (s *serving) awaitRead(ctx context.Context) error {
	for {
		s.mu.Lock()
		epoch, until, changed := s.epoch, s.until, s.changed
		s.mu.Unlock()
		if epoch == 0 {
			return mail.ErrMoved
		}
		if s.clock() < until {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return mail.ErrBusy
		}
	}
}
