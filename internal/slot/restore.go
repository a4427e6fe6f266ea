package slot

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/pack"
	saved "github.com/tandemail/tandemail/internal/snapshot"
)

// errNoSnapshot: there is none, or none can be used.
var errNoSnapshot = errors.New("no snapshot can be used")

// restorer makes an index of a snapshot. Whose copy a snapshot was does not matter:
// where bodies are is told anew by the packs that are here, and by the journal.
type restorer struct {
	cfg     *Config
	log     *slog.Logger
	skips   []cluster.Skip
	saved   string // the directory of snapshots
	packs   *pack.Set
	journal *journal.Journal
}

// restore makes the index in dir anew, where an empty one is open, and returns it
// open. Without any snapshot it returns empty: the journal is replayed from its
// beginning, if it has that. After an error no index is open.
func (inc *incarnation) restore(dir string, empty *index.DB, j *journal.Journal) (*index.DB, error) {
	r := &restorer{cfg: inc.cfg, log: inc.log, skips: inc.skips, saved: inc.savedDir(), packs: inc.packs, journal: j}
	made := dir + ".new"
	at, err := r.make(made)
	if errors.Is(err, errNoSnapshot) {
		return empty, nil
	}
	if err == nil {
		inc.damaged.setRecheck(j.End().LSN)
		err = inc.damaged.save(inc.cfg.FS, inc.cfg.Spool)
	}
	if err = errors.Join(err, empty.Close()); err == nil {
		err = inc.replaceIndex(made, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("put index in place: %w", err)
	}
	inc.log.Info("index made of a snapshot", "lsn", at)
	return inc.openIndex(dir)
}

// make makes an index in dir of the newest snapshot that is whole and of the
// journal's history, and returns its position. errNoSnapshot: of none.
func (r *restorer) make(dir string) (cluster.LSN, error) {
	files, err := saved.List(r.cfg.FS, r.saved)
	if err != nil {
		r.log.Warn("snapshots cannot be listed", "err", err)
	}
	var newer error
	for _, f := range files {
		err := r.load(f.Path, dir)
		switch {
		case err == nil:
			return f.LSN, nil
		case !unusable(err):
			return 0, fmt.Errorf("make index of a snapshot: %w", err)
		case errors.Is(err, cluster.ErrNewer):
			newer = err
		}
		r.log.Warn("snapshot cannot be used", "lsn", f.LSN, "err", err)
	}
	if newer != nil && r.journal.Low().LSN > 0 { // no damage: the release is too old
		return 0, newer
	}
	return 0, errNoSnapshot
}

// errOther: the snapshot is of another history.
var errOther = errors.New("of another history")

// unusable reports whether an error is the snapshot's own.
func unusable(err error) bool {
	for _, why := range []error{errOther, errIndex, cluster.ErrDamaged, cluster.ErrNewer, os.ErrNotExist} {
		if errors.Is(err, why) {
			return true
		}
	}
	return false
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
func (r *restorer) load(path, dir string) error {
	in, err := saved.Open(r.cfg.FS, path)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := r.fits(in.Head()); err != nil {
		return err
	}
	if err := r.cfg.FS.RemoveAll(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := index.Open(index.Config{FS: r.cfg.FS, Dir: dir, Shared: r.cfg.Shared, Log: r.log, NoPause: r.cfg.Hurry.NoPause})
	if err != nil {
		return err
	}
	err = fill(db, in)
	if err == nil {
		err = findBodies(db, r.packs, r.journal.Low().LSN)
	}
	if err == nil {
		err = verifySkips(db, r.skips) // it may be older than the decision
	}
	return errors.Join(err, db.Close()) // which flushes
}

// fits: the snapshot is of this store, and of the history that the journal has.
func (r *restorer) fits(h saved.Head) error {
	switch {
	case h.StoreID != storeID(r.cfg.Cluster, r.cfg.Store):
		return fmt.Errorf("it is of store %s in cluster %s: %w", h.Store, h.Cluster, errOther)
	case h.Level > cluster.CurrentLevel:
		return fmt.Errorf("it is of level %d: %w", h.Level, cluster.ErrNewer)
	}
	pos, err := r.journal.PositionAt(h.Position.LSN)
	if err != nil {
		return fmt.Errorf("look up its position in the journal: %w: %w", errOther, err)
	}
	if pos != h.Position {
		return fmt.Errorf("its history at %d is %v of epoch %d, the journal's %v of epoch %d: %w",
			pos.LSN, h.Position.Chain, h.Position.Epoch, pos.Chain, pos.Epoch, errOther)
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
