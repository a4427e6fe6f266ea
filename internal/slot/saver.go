package slot

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
	saved "github.com/tandemail/tandemail/internal/snapshot"
)

// When a snapshot is due. A day, so that what the journal alone has is one day's
// changes. And before that, when the operations since the last one would take some
// ten seconds to apply again: 64 MiB are about 150,000 deliveries. But the snapshots
// of a large and busy store must not be most of what is written: not before the
// operations have as many octets as the last snapshot. The journal is kept from the
// newest on, on the fast disk: with its bodies it may be some times as large as the
// snapshot, and no more.
const (
	saveEvery   = 24 * time.Hour
	saveAfter   = 64 << 20
	saveJournal = 1 << 30
	saveWorth   = 8
)

const (
	// saveLook is how often it is asked whether one is due.
	saveLook = time.Minute
	// saveAgain is how long a snapshot that failed is left alone.
	saveAgain = time.Hour
	// saveShare: of the time one in so many parts is spent writing, the others waiting,
	// since mail comes first. saveRest bounds one wait.
	saveShare = 4
	saveRest  = 2 * time.Second
)

const snapshotsDir = "snapshots"

// saver writes snapshots of the state to the big disk, on masters and replicas
// alike. The applier only counts for it.
type saver struct {
	*incarnation
	applied atomic.Int64 // octets of operations since the last snapshot, or the open
	last    savedMark
	lsn     atomic.Uint64 // of last, for others
	asks    chan chan<- error
	retry   time.Time // not before
}

// savedMark is the newest snapshot.
type savedMark struct {
	lsn  cluster.LSN
	at   time.Time
	size int64
}

// run looks at each tick until ctx ends.
func (s *saver) run(ctx context.Context, ticks <-chan time.Time) {
	s.learn()
	for {
		select {
		case <-ticks:
			s.turnEra()
			s.look(ctx)
		case done := <-s.asks:
			done <- s.renew(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// learn finds out which snapshot is the newest. One whose header is damaged counts
// as none: the next is due.
func (s *saver) learn() {
	files, err := saved.List(s.cfg.FS, s.savedDir())
	if err == nil && len(files) > 0 {
		var h saved.Head
		var size int64
		if h, size, err = saved.Glance(s.cfg.FS, files[0].Path); err == nil {
			s.note(savedMark{h.Position.LSN, h.Time, size})
		}
	}
	if err != nil {
		s.log.Warn("newest snapshot cannot be read", "err", err)
	}
}

func (inc *incarnation) savedDir() string { return inc.cfg.FS.PathJoin(inc.cfg.Spool, snapshotsDir) }

// spoolDisk is the device that the spool directory is on.
func (inc *incarnation) spoolDisk() *disk.Disk {
	if inc.cfg.SpoolDisk != nil {
		return inc.cfg.SpoolDisk
	}
	return inc.cfg.Disk
}

func (s *saver) note(m savedMark) {
	s.last = m
	s.lsn.Store(uint64(m.lsn))
	s.setStatus(func(st *Status) { st.SnapshotLSN, st.SnapshotAt = m.lsn, m.at })
}

// fresh has a snapshot written of the state as it is, unless that is in one.
func (s *saver) fresh(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case s.asks <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *saver) renew(ctx context.Context) error {
	if s.index.Applied().LSN <= s.last.lsn {
		return nil
	}
	return s.save(ctx)
}

// newest is the position of the newest snapshot, 0 if there is none.
func (s *saver) newest() cluster.LSN { return cluster.LSN(s.lsn.Load()) }

// look writes a snapshot if one is due. Without room none is written: the two older
// ones stay.
func (s *saver) look(ctx context.Context) {
	now := s.cfg.Now()
	if now.Before(s.retry) || !s.due(now, s.index.Applied().LSN) || s.spoolDisk().Space().Level() >= disk.Refuse {
		return
	}
	if err := s.save(ctx); err != nil && ctx.Err() == nil {
		s.retry = now.Add(saveAgain)
		s.log.Warn("snapshot not written; it will be tried again", "err", err)
	}
}

func (s *saver) due(now time.Time, at cluster.LSN) bool {
	if at <= s.last.lsn {
		return false
	}
	age, journal := now.Sub(s.last.at), int64(at-s.last.lsn)
	return age >= saveEvery || age < 0 || s.cfg.Hurry.Save > 0 ||
		s.applied.Load() >= max(saveAfter, s.last.size) || journal >= max(saveJournal, saveWorth*s.last.size)
}

// save writes a snapshot of the newest state when the device has time for it.
func (s *saver) save(ctx context.Context) error {
	end, err := s.spoolDisk().Turn(ctx)
	if err != nil {
		return err
	}
	defer end()
	counted := s.applied.Load()
	snap, err := s.snapshot()
	if err != nil {
		return err
	}
	defer snap.release()
	h := saved.Head{
		Cluster: s.cfg.Cluster, Store: s.cfg.Store, StoreID: s.id.StoreID, Slot: s.cfg.Slot,
		Position: snap.snap.Applied(), Level: cluster.CurrentLevel, Time: s.cfg.Now().UTC().Truncate(time.Microsecond),
	}
	cfg := saved.Config{FS: s.cfg.FS, Dir: s.savedDir(), Disk: s.spoolDisk(), Rand: s.cfg.Rand, Step: s.pace(ctx)}
	sum, err := saved.Write(cfg, h, snap.Scan(nil, nil), snap.Err)
	if sum.Path != "" { // it is there, though older ones may not have gone
		s.applied.Add(-counted)
		s.note(savedMark{h.Position.LSN, h.Time, sum.Size})
		s.log.Info("snapshot written", "lsn", h.Position.LSN)
	}
	if err != nil {
		return fmt.Errorf("at %d: %w", h.Position.LSN, err)
	}
	return nil
}

// pace returns what waits after each step of a snapshot, in proportion to what the
// step took.
func (s *saver) pace(ctx context.Context) func() error {
	begun := s.cfg.Clock()
	return func() error {
		rest := time.NewTimer(min((saveShare-1)*(s.cfg.Clock()-begun), saveRest))
		defer rest.Stop()
		select {
		case <-rest.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		begun = s.cfg.Clock()
		return nil
	}
}
