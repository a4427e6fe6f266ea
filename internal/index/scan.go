package index

import (
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"
)

// scan yields copies of the pairs in [lo, hi) and returns what went wrong. An empty
// hi is no bound; the index's own keys are never yielded.
func scan(r pebble.Reader, lo, hi []byte, yield func(k, v []byte) bool) (err error) {
	if len(hi) == 0 || hi[0] == reserved {
		hi = []byte{reserved}
	}
	if len(lo) == 0 {
		lo = nil // Pebble takes an empty bound for a key
	}
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return fmt.Errorf("scan index: %w", classify(err))
	}
	defer func() {
		if failed := it.Close(); failed != nil && err == nil {
			err = fmt.Errorf("scan index: %w", classify(failed))
		}
	}()
	var a arena
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("scan index: %w", classify(err))
		}
		if !yield(a.copy(it.Key()), a.copy(v)) {
			return nil
		}
	}
	return nil
}

// arena copies small slices into larger blocks: a scan allocates once for many
// pairs, and what it yields may be kept.
type arena struct {
	free []byte
	next int
}

const (
	arenaFirst = 1 << 10
	arenaMost  = 32 << 10
)

func (a *arena) copy(b []byte) []byte {
	if len(b) > len(a.free) || a.free == nil { // what is empty is not nil either
		a.next = min(max(2*a.next, arenaFirst), arenaMost)
		a.free = make([]byte, max(a.next, len(b)))
	}
	out := a.free[:len(b):len(b)]
	a.free = a.free[len(b):]
	copy(out, b)
	return out
}

// pairs makes an iterator of a scan that remembers its first error.
func pairs(into *error, scan func(yield func(k, v []byte) bool) error) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		if err := scan(yield); err != nil && *into == nil {
			*into = err
		}
	}
}

// errReserved: a key that only the index itself may use.
var errReserved = errors.New("key begins with the reserved octet 0xff")
