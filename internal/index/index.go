// Package index is a slot's ordered key-value store: Pebble without a
// write-ahead log, because the journal is the log.
//
// Every batch also writes the position it brings the index to, so what is on disk
// after a crash is exactly the index as it was at some applied position, and the
// journal is replayed from there. Nothing is ever ingested or excised: that would
// break this.
//
// It is not the state machine (it knows no keys but its own) and not durable by
// itself: only Flush makes it so, as does Pebble now and then.
//
// Concurrency: one goroutine, the applier, uses batches, one at a time. Snapshots,
// Derived and the rest may be used from any goroutine.
//
// Failure: what would make Pebble end the process, and every background error,
// fails this DB alone and finally. A failed DB answers every call with its error
// and calls Config.Fail once. Pebble's goroutine that met a fatal error is parked
// for ever, for going on would be wrong: such a DB is leaked until the process
// ends. Close ends whatever it could still change and frees its lock, so that the
// directory can be opened again.
package index

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/tandemail/tandemail/internal/cluster"
)

// Format is the version of Pebble's files. Raising it is a step of the cluster's
// level: an older release cannot open what a newer format wrote.
const Format = pebble.FormatValueSeparation

// Shared is what all indexes of a process share. Use NewShared.
type Shared struct {
	cache *pebble.Cache
	files *pebble.FileCache
}

// NewShared returns a block cache of that many octets and a cache of that many
// open table files.
func NewShared(cacheSize int64, openFiles int) *Shared {
	return &Shared{cache: pebble.NewCache(cacheSize), files: pebble.NewFileCache(8, openFiles)}
}

// Close gives the caches up after the last DB that uses them was closed.
func (s *Shared) Close() {
	s.files.Unref()
	s.cache.Unref()
}

// Config of a DB. FS and Dir are required.
type Config struct {
	FS     vfs.FS
	Dir    string
	Shared *Shared // default: caches of its own
	// MemTableSize in octets. Default 4 MiB: with many slots memory follows it.
	MemTableSize uint64
	Log          *slog.Logger // default: discard
	// Fail is called once, in a goroutine of its own, when the DB has failed.
	Fail func(error)
	// NoPause is for tests in virtual time, which stands still while a goroutine waits for
	// Pebble's lock: see retryPause.
	NoPause bool
}

// DB is an open index. Use Open.
type DB struct {
	cfg    Config
	fence  *fence
	pebble *pebble.DB
	hot    *hot // the applier's

	idle    chan guarded  // to a goroutine that waits for a call
	failed  chan struct{} // closed when err is set
	parked  chan struct{} // closed when a goroutine of Pebble's will never come back
	closing chan struct{}

	era atomic.Uint32 // of derived data

	parkOnce sync.Once
	open     atomic.Bool // Pebble is

	mu      sync.Mutex
	err     error
	applied cluster.Position
	commits uint64             // so far; what is committed need not raise applied
	current *shared            // snapshot of the newest state, nil if none was asked for
	left    []*pebble.Snapshot // that nobody uses, to be closed with the DB
}

// Open opens or creates the index in cfg.Dir. Octets that are not what was written
// give an error that wraps cluster.ErrDamaged, files of a newer format
// cluster.ErrNewer.
func Open(cfg Config) (*DB, error) {
	if cfg.MemTableSize == 0 {
		cfg.MemTableSize = 4 << 20
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &DB{cfg: cfg, hot: newHot(), idle: make(chan guarded), failed: make(chan struct{}), parked: make(chan struct{}), closing: make(chan struct{})}
	d.fence = &fence{FS: cfg.FS, hold: d.hold}
	if err := d.insist(func() (err error) {
		d.pebble, err = pebble.Open(cfg.Dir, d.options(false))
		return err
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("open index %s: %w", cfg.Dir, classify(err)), d.fence.shut())
	}
	d.open.Store(true)
	err := d.Err() // what Pebble began in the background may have failed already
	if err == nil {
		d.applied, err = readApplied(d.pebble)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open index %s: %w", cfg.Dir, err), d.shut())
	}
	return d, nil
}

// shut closes Pebble, unless a goroutine of it is parked, and ends whatever it could
// still change.
func (d *DB) shut() error {
	close(d.closing) // nobody pauses under Pebble's lock any more
	err := d.insist(func() (err error) {
		for _, snap := range d.left {
			err = errors.Join(err, snap.Close())
		}
		return errors.Join(err, d.pebble.Close()) // which panics if it has lost count of what reads its files
	})
	return errors.Join(err, d.fence.shut())
}

func (d *DB) options(readOnly bool) *pebble.Options {
	o := &pebble.Options{
		FS:                 d.fence,
		FormatMajorVersion: Format,
		DisableWAL:         true,
		MemTableSize:       d.cfg.MemTableSize,
		Logger:             logger{d},
		EventListener: &pebble.EventListener{
			BackgroundError: d.backgroundError,
			DataCorruption:  func(i pebble.DataCorruptionInfo) { _ = d.fail(fmt.Errorf("%w: %v", cluster.ErrDamaged, i)) },
		},
		ReadOnly: readOnly,
	}
	for i := range o.Levels { // most look-ups of new ids find nothing
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	if d.cfg.Shared != nil {
		o.Cache, o.FileCache = d.cfg.Shared.cache, d.cfg.Shared.files
	}
	return o
}

// Applied returns the position that the newest state is at; zero for a new index.
func (d *DB) Applied() cluster.Position {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.applied
}

// Flush makes the state as it is now durable and returns its position: a lower
// bound for replay after a crash. It waits for the disk.
func (d *DB) Flush() (cluster.Position, error) {
	p := d.Applied()
	var flushed <-chan struct{}
	err := d.guard(func() (err error) {
		flushed, err = d.pebble.AsyncFlush()
		return err
	})
	if err != nil {
		return cluster.Position{}, d.fail(fmt.Errorf("flush: %w", err))
	}
	select {
	case <-flushed:
		return p, nil
	case <-d.failed: // Pebble tells nobody who waits, not even when it is closed
		return cluster.Position{}, d.Err()
	}
}

// Checkpoint makes a copy of the index in dir, which must not exist, and returns
// the position that the copy is at. Files are linked where the file system can.
func (d *DB) Checkpoint(dir string) (cluster.Position, error) {
	if _, err := d.Flush(); err != nil { // a checkpoint omits the memtables
		return cluster.Position{}, err
	}
	var p cluster.Position
	err := d.guard(func() error {
		if err := d.pebble.Checkpoint(dir); err != nil {
			return err
		}
		copied, err := pebble.Open(dir, d.options(true))
		if err != nil {
			return err
		}
		p, err = readApplied(copied)
		return errors.Join(err, copied.Close())
	})
	if err != nil {
		return cluster.Position{}, fmt.Errorf("checkpoint index %s to %s: %w", d.cfg.Dir, dir, err)
	}
	return p, nil
}

// Close flushes, so that the next Open has little to replay, and closes. All
// snapshots must have been closed, no other call may be running. Close it once.
func (d *DB) Close() error {
	_, flushed := d.Flush()
	d.mu.Lock()
	if d.err == nil {
		d.err = fmt.Errorf("index %s: %w", d.cfg.Dir, cluster.ErrStopped)
	}
	newest := d.current
	d.current = nil
	d.mu.Unlock()
	if newest != nil {
		flushed = errors.Join(flushed, newest.release())
	}
	return errors.Join(flushed, d.shut())
}

func classify(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return err
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("%w: %w", cluster.ErrDamaged, err)
	}
	return err
}
