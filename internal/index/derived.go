package index

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Derived is a side space for what can be computed again at will: outside digests
// and replication, and not part of the state at any position.
type Derived struct{ db *DB }

// Keys begin with the prefix and their era, 8 octets.
const (
	derivedPrefix = "\xffderived/"
	derivedEnd    = "\xffderived0" // the first key after all of them
)

// derivedLimit is the largest value kept.
const derivedLimit = 384 << 10

// Derived returns the DB's side space. Any goroutine may use it.
func (d *DB) Derived() Derived { return Derived{d} }

// derivedKeys puts keys into an era.
func derivedKeys(era uint32, keys ...[]byte) [][]byte {
	list := make([][]byte, len(keys))
	prefix := eraPrefix(uint64(era))
	for i, k := range keys {
		list[i] = append(prefix[:len(prefix):len(prefix)], k...)
	}
	return list
}

func eraPrefix(era uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(derivedPrefix), era)
}

// Turn begins an era, by the clock of who calls it, unless it is the present one. What
// was neither set nor read in it or in the one before is forgotten: nobody tells what
// values are of a message that has gone.
func (s Derived) Turn(era uint32) error {
	if s.db.era.Swap(era) == era {
		return nil
	}
	for _, r := range [...][2][]byte{
		{[]byte(derivedPrefix), eraPrefix(uint64(max(era, 1) - 1))},
		{eraPrefix(uint64(era) + 1), []byte(derivedEnd)},
	} {
		if err := s.forget(r[0], r[1]); err != nil {
			return err
		}
	}
	return nil
}

// forget deletes the keys in [lo, hi), if there are any.
func (s Derived) forget(lo, hi []byte) error {
	it, err := s.db.pebble.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return s.db.fail(fmt.Errorf("look for old derived data: %w", classify(err)))
	}
	found := it.First()
	if err := it.Close(); err != nil {
		return s.db.fail(fmt.Errorf("look for old derived data: %w", classify(err)))
	}
	if !found {
		return nil
	}
	return s.write(func() error { return s.db.pebble.DeleteRange(lo, hi, pebble.NoSync) })
}

// Get returns what was Set under each of the keys by the same parser version, else nil:
// also where it cannot be read, which fails the DB. Keys in order cost least.
func (s Derived) Get(version uint32, keys ...[]byte) [][]byte {
	if s.db.Err() != nil {
		return make([][]byte, len(keys))
	}
	list, err := s.look(keys)
	if err != nil {
		_ = s.db.fail(fmt.Errorf("read derived data: %w", err)) // whoever uses the DB next is told
		return make([][]byte, len(keys))
	}
	for i, v := range list {
		if len(v) < 4 || binary.BigEndian.Uint32(v) != version {
			list[i] = nil
		} else {
			list[i] = v[4:]
		}
	}
	return list
}

// look finds values in the present era or the one before. Those are set again.
func (s Derived) look(keys [][]byte) ([][]byte, error) {
	era := s.db.era.Load()
	list, err := seek(s.db.pebble, derivedKeys(era, keys...))
	if err != nil || era == 0 {
		return list, err
	}
	var missing [][]byte
	for i, v := range list {
		if v == nil {
			missing = append(missing, keys[i])
		}
	}
	if len(missing) == 0 {
		return list, nil
	}
	older, err := seek(s.db.pebble, derivedKeys(era-1, missing...))
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i] != nil {
			continue
		}
		list[i], older = older[0], older[1:]
		if list[i] == nil {
			continue
		}
		if err := s.set(era, keys[i], list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Set keeps a value, until it is replaced or deleted. It may be lost in a crash. A
// value too large to be worth keeping is not kept, without an error.
func (s Derived) Set(version uint32, key, value []byte) error {
	if len(value) > derivedLimit {
		return nil
	}
	v := append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(value)), version), value...)
	return s.set(s.db.era.Load(), key, v)
}

func (s Derived) set(era uint32, key, v []byte) error {
	return s.write(func() error { return s.db.pebble.Set(derivedKeys(era, key)[0], v, pebble.NoSync) })
}

func (s Derived) write(f func() error) error {
	if err := s.db.guard(f); err != nil {
		return s.db.fail(fmt.Errorf("write derived data: %w", err))
	}
	return nil
}
