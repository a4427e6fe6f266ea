package state

import (
	"bytes"
	"iter"

	"github.com/tidwall/btree"
)

// MapKV is a sorted map in memory with snapshots that cost nothing to take, for
// the memory twin, tests and the simulator. One goroutine may write while others
// read snapshots taken before; Snapshot belongs to the writer.
type MapKV struct{ tree *btree.BTreeG[pair] }

type pair struct{ key, value []byte }

var _ KV = (*MapKV)(nil)

// NewMapKV returns an empty map.
func NewMapKV() *MapKV {
	less := func(a, b pair) bool { return bytes.Compare(a.key, b.key) < 0 }
	return &MapKV{btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
}

// Snapshot returns a map with the present pairs; neither sees the other's changes.
func (m *MapKV) Snapshot() *MapKV { return &MapKV{m.tree.Copy()} }

// Len returns the number of pairs.
func (m *MapKV) Len() int { return m.tree.Len() }

// Get implements [Reader].
func (m *MapKV) Get(key []byte) ([]byte, error) {
	p, ok := m.tree.Get(pair{key: key})
	if !ok {
		return nil, nil
	}
	return p.value, nil
}

// GetAll implements [Batcher].
func (m *MapKV) GetAll(keys [][]byte) ([][]byte, error) {
	list := make([][]byte, len(keys))
	for i, k := range keys {
		list[i], _ = m.Get(k) // never fails
	}
	return list, nil
}

// Scan implements [Reader].
func (m *MapKV) Scan(lo, hi []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		m.tree.Ascend(pair{key: lo}, func(p pair) bool {
			return bytes.Compare(p.key, hi) < 0 && yield(p.key, p.value)
		})
	}
}

// Set implements [KV].
func (m *MapKV) Set(key, value []byte) error {
	both := make([]byte, len(key)+len(value))
	n := copy(both, key)
	copy(both[n:], value)
	m.tree.Set(pair{both[:n:n], both[n:]})
	return nil
}

// Delete implements [KV].
func (m *MapKV) Delete(key []byte) error {
	m.tree.Delete(pair{key: key})
	return nil
}
