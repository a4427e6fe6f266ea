// Package journal is a slot's log: an append-only, chained sequence of batches of
// records on an injected file system. It is the write-ahead log of the slot and
// the octets that replication sends, and it holds message bodies until packs take
// them over.
//
// A batch is the unit of writing, syncing and streaming. Its LSN is the number of
// octets before it since the beginning of the store, headers of batches and
// records counted, headers of segment files not. Every batch carries a chain
// (SHA-256 over the chain before and its own octets), so that two copies are equal
// up to an LSN exactly if their chains there are. docs/format/journal.md describes
// each octet.
//
// It is not the state machine: payloads are opaque. It does not decide what is
// committed, who may write, or what may be trimmed.
//
// Invariants:
//
//   - A segment file has its name only once its header is durable, and everything
//     before its base is. So only the newest segment can have a torn tail.
//   - At most Unsynced octets are written and not durable.
//   - An octet that Sync reported durable is never dropped by Open: if it cannot be
//     read back the journal is damaged, and says so instead of ending early.
//   - Octets at one LSN change only through TruncateTo, which keeps the old ones.
//
// Concurrency: one goroutine calls Append, AppendRaw and TruncateTo. Every other
// method may be called from any goroutine at any time. The file system must allow
// a sync, a write and reads of one file at once, as Linux does. Errors of writing
// and syncing are final: reopen to go on.
package journal

import (
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Limits of the format.
const (
	// MaxBatch is the largest batch in octets, its header included.
	MaxBatch = 4 << 20
	// MaxChunk is the largest payload of a KindBodyChunk record, so that a large
	// message does not hold a batch.
	MaxChunk = 1 << 20
	// Unsynced is the most octets written and not yet durable. Append and
	// AppendRaw sync when more would be.
	Unsynced = 2 * MaxBatch
)

var (
	// ErrTrimmed: the position is below the oldest segment held.
	ErrTrimmed = errors.New("trimmed from the journal")
	// ErrBeyond: the position is above the journal's end.
	ErrBeyond = errors.New("beyond the end of the journal")
	// ErrBoundary: the position is inside a batch.
	ErrBoundary = errors.New("not a batch boundary")
	// ErrMismatch: a batch from elsewhere does not continue this journal.
	ErrMismatch = errors.New("batch does not continue the journal")
	// ErrBusy: a Trim is running; ask again.
	ErrBusy = errors.New("journal busy")
	// ErrTooLarge: the records exceed MaxBatch or MaxChunk.
	ErrTooLarge = errors.New("too large for the journal")
)

// CorruptError says where stored octets are not what was written.
// errors.Is(err, cluster.ErrDamaged) holds.
type CorruptError struct {
	At  cluster.LSN
	Why error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal damaged at %d: %v", e.At, e.Why)
}

// Unwrap makes both the sentinel and the reason visible to errors.Is.
func (e *CorruptError) Unwrap() []error { return []error{cluster.ErrDamaged, e.Why} }
