package slot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
)

var (
	errNotOpen = fmt.Errorf("slot is not open: %w", cluster.ErrStopped)
	// errBehind: so many events wait that the disk must be hanging.
	errBehind = errors.New("the slot does not keep up")
)

// current returns the open incarnation, nil while there is none.
func (s *Slot) current() *incarnation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// RecordSeen tells what a watch showed of the store's record. It never waits: of
// several sightings that were not looked at yet the newest counts.
func (s *Slot) RecordSeen(rec cluster.StoreRecord, rev, coordRev cluster.Rev) {
	s.learn(&rec)
	s.mu.Lock()
	s.seen = &replica.RecordSeen{Record: rec, Rev: rev, CoordRev: coordRev}
	inc := s.now
	s.mu.Unlock()
	if inc != nil {
		inc.recordSeen(rec)
	}
}

func (s *Slot) lastSeen() replica.RecordSeen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.seen
}

// Accept serves a replication connection that slot peer has made, until it ends.
// It closes conn.
func (s *Slot) Accept(ctx context.Context, peer cluster.SlotID, conn net.Conn) error {
	inc := s.current()
	if inc == nil || !inc.sessions.enter() {
		return errors.Join(errNotOpen, conn.Close())
	}
	defer inc.sessions.leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(inc.sessionCtx, cancel)
	defer stop()
	return inc.sessions.run(ctx, peer, conn)
}

// Nominate asks this slot to become master. It may refuse; Status tells. An error
// says that it was not even asked.
func (s *Slot) Nominate(n replica.Nominate) error {
	inc := s.current()
	if inc == nil {
		return errNotOpen
	}
	select {
	case inc.events <- n:
		return nil
	case <-inc.done:
		return errNotOpen
	default:
		return fmt.Errorf("nominate slot: %w", errBehind)
	}
}

// ServingFor is how long this slot has been the master that serves, in this epoch.
func (s *Slot) ServingFor() time.Duration { return s.serving.lasts() }

// AwaitServing returns when this slot serves as master of an epoch of at least min.
func (s *Slot) AwaitServing(ctx context.Context, min cluster.Epoch) error {
	for {
		epoch, changed := s.serving.watch()
		if epoch != 0 && epoch >= min {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
