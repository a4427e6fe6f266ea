// Package coord is the cluster's small, strongly consistent memory: who is
// master of what, which machines there are, which users. It is an interface
// with two implementations, coord/etcd and coord/memory, held equal by
// coord/coordtest, and what can be built on the interface alone: Follow (a
// mirror of a prefix) and Elect (one holder of a key).
//
// It is not a store for mail, for figures that change often, or for anything
// that a client waits for: every mail path works without it for hours.
//
// Invariants. Revisions are those of the whole coordinator: they rise with every
// effective transaction, and a key's revision is that of its last change. Reads
// are linearizable. A write whose answer was lost is ErrUnknown, never "failed".
// A coordinator whose revision fell was restored from a backup or wiped; whoever
// notices says ErrRewound and nothing automatic goes on.
//
// Concurrency: a Coord and a Lease are safe for concurrent use.
package coord

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Errors. Test with errors.Is.
var (
	// ErrUnknown: the transaction may have happened. Read before you act.
	ErrUnknown = fmt.Errorf("coordinator: %w", cluster.ErrUnknown)
	// ErrUnavailable: nothing happened, nobody answered. Try again later.
	ErrUnavailable = errors.New("coordinator unavailable")
	// ErrRefused: as ErrUnavailable, and for good: it does not talk to this caller.
	ErrRefused = fmt.Errorf("%w: refused", ErrUnavailable)
	// ErrCompacted: the history asked for is gone. List again.
	ErrCompacted = errors.New("coordinator history compacted")
	// ErrRewound: the coordinator is at a lower revision than the caller has seen.
	ErrRewound = errors.New("coordinator went back to an older state")
	// ErrTooMany: more keys, operations or octets than the bounds below. Nothing happened.
	ErrTooMany = errors.New("over a bound of the coordinator")
	// ErrLeaseLost: the lease ended before the call. Nothing happened.
	ErrLeaseLost = errors.New("lease lost")
)

// Bounds that hold for every implementation.
const (
	// MaxOps is the largest number of comparisons, and of operations, in a Txn.
	MaxOps = 128
	// MaxValue is the largest value in octets.
	MaxValue = 256 << 10
	// MaxList is the largest number of keys that one List returns. Larger sets
	// are sharded by their keys (keys.go) and listed shard by shard: a limited
	// range would still be walked to its end by etcd to count it.
	MaxList = 1 << 17
)

// KV is a key with its value and the revision of its last change.
type KV struct {
	Key   string
	Value []byte // not to be changed
	Rev   cluster.Rev
}

// Change is one key's change as Watch tells it.
type Change struct {
	KV           // Value is nil if Deleted; Rev is the revision of the change
	Deleted bool // by a transaction, or with its lease
}

// Compare holds if Key's revision is exactly Rev; 0 means that it does not exist.
type Compare struct {
	Key string
	Rev cluster.Rev
}

// Op puts or deletes one key.
type Op struct {
	Key    string
	Value  []byte
	Delete bool
}

// Put is the operation that sets key.
func Put(key string, value []byte) Op { return Op{Key: key, Value: value} }

// Delete is the operation that removes key; it is no error if there is none.
func Delete(key string) Op { return Op{Key: key, Delete: true} }

// Txn does all of Then if every comparison holds, else nothing. A key is named
// at most once in Then.
type Txn struct {
	If   []Compare
	Then []Op
}

// Check reports what makes t impossible, as ErrTooMany or a plain error.
func (t Txn) Check() error {
	if len(t.If) > MaxOps || len(t.Then) > MaxOps {
		return fmt.Errorf("transaction of %d comparisons and %d operations: %w", len(t.If), len(t.Then), ErrTooMany)
	}
	seen := make(map[string]bool, len(t.Then))
	for _, op := range t.Then {
		if op.Key == "" || seen[op.Key] {
			return fmt.Errorf("transaction: key %q is empty or named twice", op.Key)
		}
		if len(op.Value) > MaxValue {
			return fmt.Errorf("transaction: value of %s has %d octets: %w", op.Key, len(op.Value), ErrTooMany)
		}
		seen[op.Key] = true
	}
	return nil
}

// Coord is etcd, or memory. Every method returns within the context's deadline
// and, if there is none or a later one, within a few seconds of its own.
type Coord interface {
	// Get reads one key, linearizably. A missing key has revision 0 and no error.
	Get(ctx context.Context, key string) (value []byte, rev cluster.Rev, err error)
	// List reads the keys that begin with prefix, in order, all at the returned
	// revision of the coordinator, linearizably. ErrTooMany above MaxList keys.
	List(ctx context.Context, prefix string) ([]KV, cluster.Rev, error)
	// Txn commits t. ok is false, with no error, if a comparison did not hold. If
	// ok, rev is the revision that every key put now has. ErrUnknown: it may have
	// happened, or may yet happen; read before you act.
	Txn(ctx context.Context, t Txn) (ok bool, rev cluster.Rev, err error)
	// Watch yields the changes below prefix with a revision greater than after, in
	// order, all changes of one revision in one batch, until it yields one error:
	// ErrCompacted and ErrRewound (list again), the context's, or ErrUnavailable
	// (watch again after the last revision seen). It may go silent while the
	// coordinator is down; it never skips.
	Watch(ctx context.Context, prefix string, after cluster.Rev) iter.Seq2[[]Change, error]
	// Lease asks for a lease of ttl, rounded up to what the implementation can do,
	// and keeps it alive until it is closed. The caller must Close it.
	Lease(ctx context.Context, ttl time.Duration) (Lease, error)
}

// Lease keeps keys for as long as its owner is heard.
type Lease interface {
	// Txn is Coord.Txn whose puts vanish with the lease.
	Txn(ctx context.Context, t Txn) (ok bool, rev cluster.Rev, err error)
	// Lost is closed when the lease may have ended: at the latest one TTL after
	// the last successful renewal was sent, never later than the coordinator
	// itself deletes the keys. Closed also by Close.
	Lost() <-chan struct{}
	// Close ends the lease and deletes its keys at once, if the coordinator can be
	// reached, else they end with the TTL.
	Close(ctx context.Context) error
}
