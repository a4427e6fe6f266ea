package slot

import (
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/state"
)

// firstLevel is what a cluster has before any upgrade was finished.
const firstLevel cluster.Level = 1

// RaiseLevel tells the cluster's level: what is proposed here from now on is
// proposed under it, as far as this build supports it. It never falls.
func (s *Slot) RaiseLevel(l cluster.Level) {
	for {
		known := s.level.Load()
		if uint32(l) <= known || s.level.CompareAndSwap(known, uint32(l)) {
			return
		}
	}
}

// clusterLevel is the level to propose under. While nobody has told, it is the
// first: every build supports what is below its own.
func (s *Slot) clusterLevel() cluster.Level {
	return max(firstLevel, min(cluster.Level(s.level.Load()), s.cfg.Level))
}

// understands: this build knows what the record is, and how to act under its level.
// What it does not know it must not pass over.
func (w *work) understands(rec journal.Record) error {
	switch {
	case rec.Kind < journal.KindBodyChunk || rec.Kind > journal.KindStoreRecord:
		return fmt.Errorf("%v record: %w", rec.Kind, cluster.ErrNewer)
	case rec.Level > w.cfg.Level:
		return fmt.Errorf("%v record of level %d, this release knows %d: %w", rec.Kind, rec.Level, w.cfg.Level, cluster.ErrNewer)
	}
	return nil
}

// noteLevel keeps with the state the highest level it was made under.
func (w *work) noteLevel(l cluster.Level) error {
	if l <= w.reached {
		return nil
	}
	if err := state.NoteLevel(w.kv, l); err != nil {
		return err
	}
	w.raised = l
	return nil
}

// reachedLevel is that of db's state. cluster.ErrNewer if this build does not know it.
func (inc *incarnation) reachedLevel(db *index.DB) (cluster.Level, error) {
	snap, err := db.Snapshot()
	if err != nil {
		return 0, fmt.Errorf("look up the level of the state: %w", err)
	}
	defer snap.Close()
	l, err := state.ReachedLevel(snap)
	if err == nil && l > inc.cfg.Level {
		err = fmt.Errorf("the state was made under level %d, this release knows %d: %w", l, inc.cfg.Level, cluster.ErrNewer)
	}
	return l, err
}
