// Package coordtest is the conformance suite of coord.Coord. Run it against
// every implementation: what holds for the twin in memory then holds for etcd.
package coordtest

import (
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// Env is one coordinator, empty below the prefix "/t/", seen by two clients.
type Env struct {
	A, B coord.Coord
	// Compact forgets the history at or below rev.
	Compact func(t *testing.T, rev cluster.Rev)
	// MinTTL is the shortest lease the coordinator grants.
	MinTTL time.Duration
}

// Run runs the suite; open is called once for each test.
func Run(t *testing.T, open func(t *testing.T) Env) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, e Env)
	}{
		{"MissingKeyHasRevisionZero", missingKey},
		{"TxnComparesRevisions", comparesRevisions},
		{"TxnIsAllOrNothing", allOrNothing},
		{"TxnDeletesAndCreatesAgain", deletes},
		{"TxnRefusesWhatIsOverItsBounds", bounds},
		{"OneOfManyRacingWritersWins", race},
		{"ListIsOrderedAndOfOneRevision", list},
		{"WatchTellsEveryChangeInOrder", watchOrder},
		{"WatchBatchesAreWholeRevisions", watchWhole},
		{"WatchAfterCompactionSaysSo", watchCompacted},
		{"WatchBeyondThePresentIsARewind", watchRewound},
		{"WatchEndsWithItsContext", watchEnds},
		{"LeaseKeepsItsKeysAndCloseDeletesThem", leaseClose},
		{"LeaseOutlivesItsTTLWhileRenewed", leaseRenewed},
		{"LostLeaseRefusesTransactions", leaseRefuses},
		{"AnotherLeaseTakesAKeyOver", leaseTakeover},
		{"FollowMirrorsAPrefix", follow},
		{"ElectionHasOneHolderAndASuccessor", elect},
		{"ElectionTakesOverFromASuspect", electSuspect},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// put commits an unconditional put and returns its revision.
func put(t *testing.T, c coord.Coord, kvs ...string) cluster.Rev {
	t.Helper()
	var txn coord.Txn
	for i := 0; i < len(kvs); i += 2 {
		txn.Then = append(txn.Then, coord.Put(kvs[i], []byte(kvs[i+1])))
	}
	ok, rev, err := c.Txn(t.Context(), txn)
	if err != nil || !ok {
		t.Fatalf("put %q: %v, %v", kvs, ok, err)
	}
	return rev
}

func wantKey(t *testing.T, c coord.Coord, key, value string, rev cluster.Rev) {
	t.Helper()
	v, r, err := c.Get(t.Context(), key)
	if err != nil || string(v) != value || r != rev {
		t.Fatalf("get %s: %q at %d, %v; want %q at %d", key, v, r, err, value, rev)
	}
}
