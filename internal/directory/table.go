package directory

import (
	"fmt"
	"sync"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// table is the copy of one sharded prefix, fed by coord.Follow.
type table[T any] struct {
	prefix string
	parse  func(name string, kv coord.KV) (T, error)
	// changed, if not nil, is told of every value that comes and goes, under the lock.
	changed func(old, new *T)

	mu       sync.RWMutex
	shards   [coord.Shards]map[string]*T // nil value: there, but not readable
	count    int
	rev      cluster.Rev
	live     bool
	loaded   chan struct{}
	isLoaded bool
	moved    chan struct{} // closed and replaced when rev rises
}

func newTable[T any](prefix string, parse func(string, coord.KV) (T, error)) *table[T] {
	return &table[T]{prefix: prefix, parse: parse, loaded: make(chan struct{}), moved: make(chan struct{})}
}

// get is called under mu. there without a value means a record that this
// release cannot read.
func (t *table[T]) get(name string) (v *T, there bool) {
	v, there = t.shards[coord.ShardIndex(name)][name]
	return v, there
}

// apply takes one step of the mirror. bad are the keys that could not be read.
func (t *table[T]) apply(u coord.Update) (bad []error) {
	fresh := make([]*T, 0, max(len(u.All), len(u.Changes)))
	decode := func(kv coord.KV) {
		v, err := t.parse(coord.ShardedName(t.prefix, kv.Key), kv)
		if err != nil {
			bad = append(bad, fmt.Errorf("decode %s: %w", kv.Key, err))
			fresh = append(fresh, nil)
			return
		}
		fresh = append(fresh, &v)
	}
	for _, kv := range u.All {
		decode(kv)
	}
	for _, c := range u.Changes {
		if c.Deleted {
			fresh = append(fresh, nil)
		} else {
			decode(c.KV)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if u.Listed != "" {
		t.replace(u, fresh)
	}
	for i, c := range u.Changes {
		t.set(coord.ShardedName(t.prefix, c.Key), fresh[i], c.Deleted)
	}
	t.live = u.Live
	if u.Live && !t.isLoaded {
		t.isLoaded = true
		close(t.loaded)
	}
	if u.Rev != t.rev {
		t.rev = u.Rev
		close(t.moved)
		t.moved = make(chan struct{})
	}
	return bad
}

// replace makes the listed shard what was listed. Called under mu.
func (t *table[T]) replace(u coord.Update, fresh []*T) {
	var shard int
	if _, err := fmt.Sscanf(u.Listed[len(t.prefix):], "%02x/", &shard); err != nil {
		return // not one of ours
	}
	for name := range t.shards[shard] {
		t.set(name, nil, true)
	}
	t.shards[shard] = make(map[string]*T, len(fresh))
	for i, kv := range u.All {
		t.set(coord.ShardedName(t.prefix, kv.Key), fresh[i], false)
	}
}

// set is called under mu.
func (t *table[T]) set(name string, v *T, deleted bool) {
	shard := coord.ShardIndex(name)
	old, there := t.shards[shard][name]
	switch {
	case deleted:
		delete(t.shards[shard], name)
	case t.shards[shard] == nil:
		t.shards[shard] = map[string]*T{name: v}
	default:
		t.shards[shard][name] = v
	}
	if there {
		t.count--
	}
	if !deleted {
		t.count++
	}
	if t.changed != nil {
		t.changed(old, v)
	}
}
