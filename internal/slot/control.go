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

var errNotOpen = fmt.Errorf("slot is not open: %w", cluster.ErrStopped)

// current returns the open incarnation, nil while there is none.
func (s *Slot) current() *incarnation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// RecordSeen tells what a watch showed of the store's record.
func (s *Slot) RecordSeen(rec cluster.StoreRecord, rev, coordRev cluster.Rev) {
	e := replica.RecordSeen{Record: rec, Rev: rev, CoordRev: coordRev}
	s.mu.Lock()
	s.seen = &e
	inc := s.now
	s.mu.Unlock()
	if inc != nil {
		inc.recordSeen(e)
	}
}

// Accept serves a replication connection that slot peer has made, until it ends.
func (s *Slot) Accept(ctx context.Context, peer cluster.SlotID, conn net.Conn) error {
	inc := s.current()
	if inc == nil {
		return errors.Join(errNotOpen, conn.Close())
	}
	inc.sessions.wg.Add(1)
	defer inc.sessions.wg.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(inc.sessionCtx, cancel)
	defer stop()
	return inc.sessions.run(ctx, peer, conn)
}

// Nominate asks this slot to become master. It may refuse; Status tells.
func (s *Slot) Nominate(n replica.Nominate) error {
	inc := s.current()
	if inc == nil {
		return errNotOpen
	}
	inc.post(n)
	return nil
}

// SwitchTo asks this master to hand over to target, and returns when it is no
// longer the master, or when it has given up.
func (s *Slot) SwitchTo(ctx context.Context, target cluster.SlotID, within time.Duration) error {
	inc := s.current()
	epoch := s.serving.master()
	if inc == nil || epoch == 0 {
		return cluster.ErrNotMaster
	}
	inc.post(replica.SwitchTo{Target: target, Within: within})
	return s.await(ctx, func(now cluster.Epoch) bool { return now != epoch })
}

// AwaitServing returns when this slot serves as master of an epoch of at least min.
func (s *Slot) AwaitServing(ctx context.Context, min cluster.Epoch) error {
	return s.await(ctx, func(now cluster.Epoch) bool { return now >= min && now != 0 })
}

// await waits until cond holds of the served epoch (0: none).
func (s *Slot) await(ctx context.Context, cond func(cluster.Epoch) bool) error {
	for {
		s.serving.mu.Lock()
		epoch, changed := s.serving.epoch, s.serving.changed
		s.serving.mu.Unlock()
		if cond(epoch) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// AwaitApplied returns when everything up to lsn is in the index.
func (s *Slot) AwaitApplied(ctx context.Context, lsn cluster.LSN) error {
	tick := time.NewTicker(replica.TickEvery)
	defer tick.Stop()
	for s.Status().Applied < lsn {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("applied to %d of %d: %w", s.Status().Applied, lsn, ctx.Err())
		}
	}
	return nil
}
