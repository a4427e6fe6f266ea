package salvage

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/snapshot"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// work is one slot on its way out.
type work struct {
	cfg     *Config
	fs      vfs.FS // read-only
	from    *found
	report  *SlotReport
	scratch string      // directory of the temporary index
	on      vfs.FS      // which that is on
	limit   cluster.LSN // no state beyond it is of use; 0: none

	db      *index.DB
	at      cluster.Position // of the state in db
	journal *journal.Remains // nil: none
	hole    bool             // from at on the journal's operations are not to be applied
	packs   []packDir
	outs    map[string]*account // by account id
	taken   map[string]bool     // directories of accounts
}

// openIndex makes the temporary index anew.
func (w *work) openIndex() (err error) {
	if err := w.closeIndex(); err != nil {
		return err
	}
	w.at = cluster.Position{}
	w.db, err = index.Open(index.Config{FS: w.on, Dir: w.scratch})
	return err
}

func (w *work) closeIndex() error {
	var err error
	if w.db != nil {
		err = w.db.Close()
		w.db = nil
	}
	if gone := w.on.RemoveAll(w.scratch); !errors.Is(gone, os.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

// restore makes the index of the newest snapshot that is whole; empty if none is.
func (w *work) restore() error {
	for _, dir := range w.from.snapshots {
		files, err := snapshot.List(w.fs, dir)
		if err != nil {
			w.report.damaged(err)
		}
		for _, f := range files {
			if w.limit != 0 && f.LSN > w.limit {
				continue
			}
			if err := w.openIndex(); err != nil {
				return err
			}
			if err = w.load(f.Path); err == nil {
				return nil
			}
			w.report.damaged(err)
		}
	}
	return w.openIndex()
}

// fillSize is about how much goes into one batch of the index.
const fillSize = 4 << 20

func (w *work) load(path string) error {
	r, err := snapshot.Open(w.fs, path)
	if err != nil {
		return err
	}
	defer r.Close()
	h := r.Head()
	if w.journal != nil {
		if id, ok := w.journal.StoreID(); ok && id != h.StoreID {
			return fmt.Errorf("snapshot %s is of another store than the journal", path)
		}
	}
	f := filler{db: w.db, at: h.Position}
	for p, err := range r.Pairs() {
		if err == nil {
			err = f.set(p.Key, p.Value)
		}
		if err != nil {
			return errors.Join(err, f.abandon())
		}
	}
	if err := f.commit(); err != nil {
		return err
	}
	w.at, w.report.Snapshot = h.Position, h.Position.LSN
	if w.from.id.Slot.IsZero() {
		w.from.id = identity{h.Cluster, h.Store, h.Slot}
	}
	return nil
}

// filler writes many pairs in batches of bounded size.
type filler struct {
	db   *index.DB
	at   cluster.Position
	b    *index.Batch
	size int
}

func (f *filler) set(key, value []byte) error {
	if f.b == nil {
		f.b, f.size = f.db.NewBatch(), 0
	}
	if err := f.b.Set(key, value); err != nil {
		return err
	}
	if f.size += len(key) + len(value); f.size < fillSize {
		return nil
	}
	return f.commit()
}

func (f *filler) commit() error {
	if f.b == nil {
		f.b = f.db.NewBatch()
	}
	err := errors.Join(f.b.Commit(f.at), f.b.Close())
	f.b = nil
	return err
}

func (f *filler) abandon() error {
	if f.b == nil {
		return nil
	}
	return f.b.Close()
}

// replay applies the journal behind the snapshot, up to the first hole.
func (w *work) replay() error {
	for b, err := range w.journal.Batches() {
		var corrupt *journal.CorruptError
		switch {
		case errors.As(err, &corrupt):
			w.report.damaged(err)
			w.hole = w.hole || corrupt.At >= w.at.LSN
		case err != nil:
			w.hole = true
			w.report.damaged(err)
		case b.End < w.at.LSN:
		case b.End == w.at.LSN && b.Chain != w.at.Chain:
			w.hole = true
			w.report.damaged(fmt.Errorf("journal and snapshot have different histories at %d", b.End))
		case b.End == w.at.LSN:
		case b.Base != w.at.LSN || w.hole:
			w.hole = true
		default:
			if err := w.apply(b); err != nil {
				w.hole = true
				w.report.damaged(err)
			}
		}
		if err := w.db.Err(); err != nil {
			return err // the disk under To
		}
	}
	if w.hole {
		w.report.incomplete("changes behind %d were not applied: mail that came in later is as it came", w.at.LSN)
	}
	return nil
}

// apply makes a batch happen, or nothing of it. A panic of the state machine is an
// error here: salvage goes on without the operation.
func (w *work) apply(b journal.Batch) (err error) {
	kv := w.db.NewBatch()
	defer func() { err = errors.Join(err, kv.Close()) }()
	at := b.Base
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("operation at %d: panic: %v\n%s", at, p, debug.Stack())
		}
	}()
	for lsn, rec := range b.Records() {
		at = lsn
		if rec.Kind != journal.KindOperation && rec.Kind != journal.KindFork {
			continue
		}
		op, err := operation.Decode(rec.Payload)
		if err == nil {
			_, err = state.Apply(kv, lsn, rec.Level, op)
		}
		if err != nil {
			return fmt.Errorf("operation at %d: %w", lsn, err)
		}
	}
	if err := kv.Commit(b.Position()); err != nil {
		return err
	}
	w.at = b.Position()
	return nil
}
