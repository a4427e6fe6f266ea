package slot

import (
	"errors"
	"fmt"
	"os"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/journal"
	saved "github.com/tandemail/tandemail/internal/snapshot"
)

// restore makes the index in dir anew from the newest snapshot that is whole and of
// j's history, and returns it open. Without any it returns empty, which is the index
// in dir as it is: the journal is replayed from its beginning, if it has that. After an error
// no index is open.
func (inc *incarnation) restore(dir string, empty *index.DB, j *journal.Journal) (*index.DB, error) {
	files, err := saved.List(inc.cfg.FS, inc.savedDir())
	if err != nil {
		inc.log.Warn("snapshots cannot be listed", "err", err)
	}
	for _, f := range files {
		made := dir + ".new"
		if err := inc.load(f.Path, made, j); err != nil {
			inc.log.Warn("snapshot cannot be used", "lsn", f.LSN, "err", err)
			continue
		}
		if err := errors.Join(empty.Close(), inc.replaceIndex(made, dir)); err != nil {
			return nil, fmt.Errorf("put index in place: %w", err)
		}
		inc.log.Info("index made of a snapshot", "lsn", f.LSN)
		return inc.openIndex(dir)
	}
	return empty, nil
}

// replaceIndex gives a complete index its place, durably.
func (inc *incarnation) replaceIndex(made, dir string) error {
	fs := inc.cfg.FS
	if err := fs.RemoveAll(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := fs.Rename(made, dir); err != nil {
		return err
	}
	return syncDir(fs, fs.PathDir(dir))
}

// load makes an index in dir of the snapshot at path, all of it verified. What is in
// dir means nothing before.
func (inc *incarnation) load(path, dir string, j *journal.Journal) error {
	r, err := saved.Open(inc.cfg.FS, path)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := inc.fits(r.Head(), j); err != nil {
		return err
	}
	if err := inc.cfg.FS.RemoveAll(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := index.Open(index.Config{FS: inc.cfg.FS, Dir: dir, Shared: inc.cfg.Shared, Log: inc.log})
	if err != nil {
		return err
	}
	err = fill(db, r)
	if err == nil {
		err = inc.verifySkips(db) // it may be older than the decision
	}
	return errors.Join(err, db.Close()) // which flushes
}

// fits: the snapshot is of this slot, and of the history that j has.
func (inc *incarnation) fits(h saved.Head, j *journal.Journal) error {
	switch {
	case h.StoreID != inc.id.StoreID || h.Slot != inc.cfg.Slot:
		return fmt.Errorf("it is of slot %v of store %s", h.Slot, h.Store)
	case h.Level > cluster.CurrentLevel:
		return fmt.Errorf("it is of level %d: %w", h.Level, cluster.ErrNewer)
	}
	pos, err := j.PositionAt(h.Position.LSN)
	if err != nil {
		return fmt.Errorf("look up its position in the journal: %w", err)
	}
	if pos != h.Position {
		return fmt.Errorf("its history at %d is %v of epoch %d, the journal's %v of epoch %d",
			pos.LSN, h.Position.Chain, h.Position.Epoch, pos.Chain, pos.Epoch)
	}
	return nil
}

// fillSize is about how much goes into one batch.
const fillSize = 4 << 20

// fill writes a snapshot's pairs into an empty index. Until it has returned without an
// error the index says that it is at the snapshot's position, and is not.
func fill(db *index.DB, r *saved.Reader) error {
	b, size := db.NewBatch(), 0
	for p, err := range r.Pairs() {
		if err == nil {
			err = b.Set(p.Key, p.Value)
		}
		if size += len(p.Key) + len(p.Value); err == nil && size > fillSize {
			err = errors.Join(b.Commit(r.Head().Position), b.Close())
			b, size = db.NewBatch(), 0
		}
		if err != nil {
			return errors.Join(err, b.Close())
		}
	}
	return errors.Join(b.Commit(r.Head().Position), b.Close())
}
