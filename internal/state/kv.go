package state

import (
	"fmt"
	"iter"
)

// Reader is what reading needs of a database.
type Reader interface {
	// Get returns the value of key, nil when there is none. The value may not be
	// changed and is valid until the next call.
	Get(key []byte) ([]byte, error)
	// Scan yields the pairs with lo <= key < hi in ascending order, valid inside
	// the loop's step only. If the database fails the sequence ends early, and
	// the optional method Err() error tells.
	Scan(lo, hi []byte) iter.Seq2[[]byte, []byte]
}

// KV is what Apply needs: a Pebble batch, or a [MapKV]. It reads its own writes.
type KV interface {
	Reader
	// Set copies both key and value.
	Set(key, value []byte) error
	Delete(key []byte) error
}

// scanErr is what ended a Scan of r, nil when that was the end of the range.
func scanErr(r Reader) error {
	if f, ok := r.(interface{ Err() error }); ok {
		if err := f.Err(); err != nil {
			return fmt.Errorf("scan state: %w", err)
		}
	}
	return nil
}

// prefixEnd is the first key after all keys that begin with prefix.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
