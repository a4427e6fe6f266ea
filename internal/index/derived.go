package index

import (
	"encoding/binary"
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
	if s.db.Err() != nil {
		return make([][]byte, len(keys))
	}
	list, err := seek(s.db.pebble, derivedPrefix, keys)
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
