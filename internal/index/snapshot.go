package index

import (
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"
	"github.com/tandemail/tandemail/internal/cluster"
)

// Snapshot is the state at one applied position, for ever. It satisfies the state
// machine's reader. Any number of goroutines may Get and Scan; Close it once, soon:
// it keeps what it sees from being compacted away.
type Snapshot struct {
	shared *shared
}

// shared is one Pebble snapshot behind any number of Snapshots: between two commits
// all are equal.
type shared struct {
	db   *DB
	snap *pebble.Snapshot
	pos  cluster.Position
	refs int // guarded by db.mu; the DB's own while it is current
}

// Snapshot returns the newest state. Between two commits it costs a lock.
func (d *DB) Snapshot() (*Snapshot, error) {
	d.mu.Lock()
	if d.err != nil {
		defer d.mu.Unlock()
		return nil, d.err
	}
	if s := d.current; s != nil {
		s.refs++
		d.mu.Unlock()
		return &Snapshot{shared: s}, nil
	}
	commits := d.commits
	d.mu.Unlock()

	s, err := d.take()
	if err != nil {
		return nil, err
	}
	if err := d.offer(s, commits); err != nil {
		return nil, d.fail(fmt.Errorf("close snapshot: %w", err))
	}
	return &Snapshot{shared: s}, nil
}

// take asks Pebble for a snapshot.
func (d *DB) take() (*shared, error) {
	s := &shared{db: d, refs: 1}
	if err := d.guard(func() (err error) {
		s.snap = d.pebble.NewSnapshot()
		s.pos, err = readApplied(s.snap)
		return err
	}); err != nil {
		return nil, d.fail(fmt.Errorf("take snapshot: %w", err))
	}
	return s, nil
}

// offer makes s the one that others share, if nothing newer is known; commits is how
// many had been told of before it was taken. Pebble shows a
// commit a little before advance tells of it: who has seen it may not be given an
// older snapshot afterwards, so s then tells of it.
func (d *DB) offer(s *shared, commits uint64) error {
	d.mu.Lock()
	var old *shared
	switch {
	case s.pos.LSN > d.applied.LSN:
		d.applied, old = s.pos, d.current
	case d.current != nil || d.commits != commits:
		d.mu.Unlock()
		return nil
	}
	d.current = s
	s.refs++
	d.mu.Unlock()
	if old == nil {
		return nil
	}
	return old.release()
}

// release gives up a reference. Pebble of a DB that has failed may be holding its lock:
// then closing the snapshot is left to who closes the DB.
func (s *shared) release() error {
	d := s.db
	d.mu.Lock()
	s.refs--
	last := s.refs == 0
	if last && d.err != nil {
		d.left = append(d.left, s.snap)
		last = false
	}
	d.mu.Unlock()
	if !last {
		return nil
	}
	return d.abandon(s.snap.Close)
}

// Applied returns the position the snapshot is at.
func (s *Snapshot) Applied() cluster.Position { return s.shared.pos }

// Get returns the value, which may be kept and changed, or nil if the key is absent.
func (s *Snapshot) Get(key []byte) ([]byte, error) {
	if err := s.shared.db.Err(); err != nil {
		return nil, err
	}
	v, err := get(s.shared.snap, key)
	if err != nil {
		return nil, s.shared.db.fail(err)
	}
	return v, nil
}

// GetAll returns the value of each key, which may be kept and changed, or nil where it
// is absent. Keys in ascending order cost least.
func (s *Snapshot) GetAll(keys [][]byte) ([][]byte, error) {
	if err := s.shared.db.Err(); err != nil {
		return nil, err
	}
	list, err := seek(s.shared.snap, keys)
	if err != nil {
		return nil, s.shared.db.fail(fmt.Errorf("get from index: %w", err))
	}
	return list, nil
}

// Scan yields the pairs in [lo, hi), ascending; an empty hi is no bound. Keys and values
// may be kept. An error ends the sequence and fails the DB, so that Err shows it.
func (s *Snapshot) Scan(lo, hi []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		if s.shared.db.Err() != nil {
			return
		}
		if err := scan(s.shared.snap, lo, hi, yield); err != nil {
			_ = s.shared.db.fail(err)
		}
	}
}

// Err returns why the DB failed: a Scan that began before may be incomplete.
func (s *Snapshot) Err() error { return s.shared.db.Err() }

// Close gives the snapshot up.
func (s *Snapshot) Close() error { return s.shared.release() }
