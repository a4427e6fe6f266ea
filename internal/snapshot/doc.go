// Package snapshot keeps the whole state of a slot at one applied position in a
// file on the big disk: its key-value pairs in order, in blocks with checksums,
// and a hash over everything. With the journal from that position on it gives the
// index again after the fast disk died, and salvage reads it with nothing else.
// docs/format/snapshot.md describes each octet.
//
// A file has its name only when all of it is durable, so that a loss of power
// leaves a whole snapshot or none. It is never changed. What keys and values mean is
// the state machine's business; where bodies are is among them and is carried as it
// is.
//
// It is not a checkpoint of the index (it does not depend on Pebble), and it does
// not decide when one is due.
//
// Memory is bounded by a block, that is 256 KiB or one large pair. Functions and
// Readers share nothing; one goroutine writes in a directory at a time.
package snapshot

import (
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Kept is how many snapshots stay in a directory: the newest may turn out damaged.
const Kept = 2

// Limits of a pair, in octets.
const (
	MaxKey   = 64 << 10
	MaxValue = 16 << 20
)

// ErrTooLarge: a pair exceeds a limit of the format.
var ErrTooLarge = errors.New("too large for a snapshot")

// damaged says that path is not what was written, or cannot be read.
func damaged(path string, at int64, why error) error {
	if errors.Is(why, cluster.ErrNewer) {
		return fmt.Errorf("snapshot %s: %w", path, why)
	}
	return fmt.Errorf("snapshot %s damaged at %d: %w: %w", path, at, cluster.ErrDamaged, why)
}
