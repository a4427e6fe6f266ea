package agent

import (
	"context"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// records is one store's key in the coordinator. It implements slot.Records.
type records struct {
	coord coord.Coord
	store cluster.Store
}

// Read implements slot.Records. The coordinator's own revision comes with a list only.
func (r records) Read(ctx context.Context) (rec cluster.StoreRecord, rev, coordRev cluster.Rev, err error) {
	key := coord.StoreKey(r.store)
	kvs, coordRev, err := r.coord.List(ctx, key)
	if err != nil {
		return rec, 0, 0, fmt.Errorf("read record of store %s: %w", r.store, err)
	}
	for _, kv := range kvs {
		if kv.Key == key {
			if rec, err = cluster.DecodeStoreRecord(kv.Value); err != nil {
				err = fmt.Errorf("read record of store %s: %w", r.store, err)
			}
			return rec, kv.Rev, coordRev, err
		}
	}
	return rec, 0, coordRev, nil
}

// Swap implements slot.Records. A record that nobody could read again would stop the
// store for good, so it is not written, whatever made it.
func (r records) Swap(ctx context.Context, rev cluster.Rev, next cluster.StoreRecord) (bool, cluster.Rev, error) {
	if err := next.Validate(); err != nil {
		return false, 0, fmt.Errorf("write record of store %s: %w", r.store, err)
	}
	key := coord.StoreKey(r.store)
	ok, newRev, err := r.coord.Txn(ctx, coord.Txn{
		If:   []coord.Compare{{Key: key, Rev: rev}},
		Then: []coord.Op{coord.Put(key, next.Encode())},
	})
	if err != nil {
		return false, 0, fmt.Errorf("write record of store %s: %w", r.store, err)
	}
	return ok, newRev, nil
}
