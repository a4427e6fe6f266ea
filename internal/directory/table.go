package directory

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
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

	mu     sync.RWMutex
	shards [coord.Shards]map[string]*T // nil value: there, but not readable
	count  int
	rev    cluster.Rev
	live   bool
	// unsure are the shards that may lack entries, as their own keys say; behind: the
	// coordinator went back, and nobody has recovered it since.
	unsure   map[int]bool
	behind   bool
	loaded   chan struct{}
	isLoaded bool
	moved    chan struct{} // closed and replaced when rev rises
}

func newTable[T any](prefix string, parse func(string, coord.KV) (T, error)) *table[T] {
	return &table[T]{prefix: prefix, parse: parse, unsure: map[int]bool{}, loaded: make(chan struct{}), moved: make(chan struct{})}
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
	own := func(kv coord.KV) bool { return t.shardOf(kv.Key) >= 0 }
	marked := slices.ContainsFunc(u.All, own)
	u.All = slices.DeleteFunc(slices.Clone(u.All), own)
	for _, kv := range u.All {
		decode(kv)
	}
	for _, c := range u.Changes {
		if c.Deleted || own(c.KV) {
			fresh = append(fresh, nil)
		} else {
			decode(c.KV)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if u.Listed != "" {
		t.replace(u, fresh)
		t.mark(t.shardOf(u.Listed), marked)
	}
	for i, c := range u.Changes {
		if shard := t.shardOf(c.Key); shard >= 0 {
			t.mark(shard, !c.Deleted)
			continue
		}
		t.set(coord.ShardedName(t.prefix, c.Key), fresh[i], c.Deleted)
	}
	t.live = u.Live
	t.behind = t.behind || errors.Is(u.Err, coord.ErrRewound)
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

// shardOf is the shard that the key itself is of, -1 if it is an entry's.
func (t *table[T]) shardOf(key string) int {
	name, ok := strings.CutSuffix(strings.TrimPrefix(key, t.prefix), "/")
	shard, err := strconv.ParseUint(name, 16, 8)
	if !ok || len(name) != 2 || err != nil {
		return -1
	}
	return int(shard)
}

// mark notes whether a shard may lack entries. Called under mu.
func (t *table[T]) mark(shard int, unsure bool) {
	if !unsure {
		delete(t.unsure, shard)
		return
	}
	t.unsure[shard] = true
	t.behind = false // from here on these keys tell
}

// incomplete: what is not here may have been there. Called under mu.
func (t *table[T]) incomplete() bool { return t.behind || len(t.unsure) > 0 }

// replace makes the listed shard what was listed. Called under mu.
func (t *table[T]) replace(u coord.Update, fresh []*T) {
	shard := t.shardOf(u.Listed)
	if shard < 0 {
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
