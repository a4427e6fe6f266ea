package slot

import (
	"context"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/state"
)

// What the store has given up is told by its record (docs/format/slot.md). An
// incarnation applies with the list that was known at its open; one that learns of
// more ends, and the next opens with them. An index that holds such an operation
// is made anew.

// learn takes in which operations rec gives up. The lists only grow, so the
// longest is the newest.
func (s *Slot) learn(rec *cluster.StoreRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(rec.Skipped) <= len(s.skips) {
		return
	}
	s.skips = rec.Skipped
	select {
	case s.learned <- struct{}{}:
	default:
	}
}

// given is what is known to have been given up.
func (s *Slot) given() []cluster.Skip {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.skips
}

// awaitRescue returns when the operation that this slot failed at has been given up, or
// a person wants the slot made anew; at ctx's end with ctx's error.
func (s *Slot) awaitRescue(ctx context.Context, failed error) error {
	fault := faultOf(failed)
	for !s.wanted() && (fault == nil || !cluster.Skips(s.given(), fault.LSN)) {
		select {
		case <-s.learned:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// heedSkips ends the incarnation when rec gives up more than it knows.
func (l *loop) heedSkips(rec *cluster.StoreRecord) error {
	l.learn(rec)
	if len(l.given()) > len(l.skips) {
		return fmt.Errorf("%w: an operation was given up", errEnded)
	}
	return nil
}

// verifySkips: the index holds nothing that was given up.
func verifySkips(db *index.DB, skips []cluster.Skip) error {
	if len(skips) == 0 {
		return nil
	}
	snap, err := db.Snapshot()
	if err != nil {
		return fmt.Errorf("look for operations that were given up: %w", err)
	}
	defer snap.Close()
	for _, s := range skips {
		if s.LSN >= snap.Applied().LSN {
			continue
		}
		switch skipped, err := state.Skipped(snap, s.LSN); {
		case err != nil:
			return err
		case !skipped:
			return fmt.Errorf("%w: it holds the operation at %d, which was given up", errIndex, s.LSN)
		}
	}
	return nil
}
