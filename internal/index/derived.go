package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Derived is a side space for what can be computed again at will: outside digests
// and replication, and not part of the state at any position.
type Derived struct{ db *DB }

const derivedPrefix = "\xffderived/"

// derivedLimit is the largest value kept.
const derivedLimit = 256 << 10

// Derived returns the DB's side space. Any goroutine may use it.
func (d *DB) Derived() Derived { return Derived{d} }

func derivedKey(key []byte) []byte { return append([]byte(derivedPrefix), key...) }

// Get returns what was Set under each of the keys by the same parser version, else nil:
// also where it cannot be read, which fails the DB. Keys in order cost least.
func (s Derived) Get(version uint32, keys ...[]byte) [][]byte {
	list := make([][]byte, len(keys))
	if s.db.Err() != nil {
		return list
	}
	var err error
	if len(keys) == 1 {
		list[0], err = get(s.db.pebble, derivedKey(keys[0]))
	} else {
		err = s.seek(keys, list)
	}
	if err != nil {
		_ = s.db.fail(err) // whoever uses the DB next is told
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

// seek looks the keys up with one iterator.
func (s Derived) seek(keys, list [][]byte) error {
	it, err := s.db.pebble.NewIter(&pebble.IterOptions{LowerBound: []byte(derivedPrefix)})
	if err != nil {
		return fmt.Errorf("read derived data: %w", classify(err))
	}
	var a arena
	key := []byte(derivedPrefix)
	for i, k := range keys {
		key = append(key[:len(derivedPrefix)], k...)
		if !it.SeekGE(key) || !bytes.Equal(it.Key(), key) {
			continue // also after an error, which Close gives
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(fmt.Errorf("read derived data: %w", classify(err)), it.Close())
		}
		list[i] = a.copy(v)
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("read derived data: %w", classify(err))
	}
	return nil
}

// Set keeps a value, until it is replaced or deleted. It may be lost in a crash. A
// value too large to be worth keeping is not kept, without an error.
func (s Derived) Set(version uint32, key, value []byte) error {
	if len(value) > derivedLimit {
		return nil
	}
	v := append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(value)), version), value...)
	return s.write(func() error { return s.db.pebble.Set(derivedKey(key), v, pebble.NoSync) })
}

// Delete forgets what is kept for all keys with a prefix: a message, an account.
func (s Derived) Delete(prefix []byte) error {
	lo := derivedKey(prefix)
	hi := append([]byte(nil), lo...)
	for i := len(hi) - 1; ; i-- { // the key space's own prefix ends below 0xff
		if hi[i]++; hi[i] != 0 {
			hi = hi[:i+1]
			break
		}
	}
	return s.write(func() error { return s.db.pebble.DeleteRange(lo, hi, pebble.NoSync) })
}

func (s Derived) write(f func() error) error {
	if err := s.db.guard(f); err != nil {
		return s.db.fail(fmt.Errorf("write derived data: %w", err))
	}
	return nil
}
