package index

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/tandemail/tandemail/internal/cluster"
)

// Batch collects writes over the newest state and reads its own. It satisfies the
// state machine's key-value interface. One goroutine, one Batch at a time.
type Batch struct {
	db     *DB
	writes map[string][]byte // nil is a deletion
	sorted []string          // keys of writes, ascending, but for those in fresh
	fresh  []string          // keys of writes since the last Scan
	seek   *pebble.Iterator  // what Get looks keys up with, once it had to

	closing sync.Once // seek
	closed  error     // what that came to
	cold    bool
	err     error
}

// Cold returns a batch for changes in passing: what it reads and writes is not
// remembered in place of what the others use again and again.
func (d *DB) Cold() *Batch {
	b := d.NewBatch()
	b.cold = true
	return b
}

// NewBatch returns an empty batch. Close it, with or without a Commit before.
func (d *DB) NewBatch() *Batch {
	return &Batch{db: d, writes: make(map[string][]byte)}
}

// Get returns the value, which must not be changed, or nil if the key is absent.
func (b *Batch) Get(key []byte) ([]byte, error) {
	if v, ok := b.writes[string(key)]; ok {
		return v, nil
	}
	if v, ok := b.db.hot.get(key); ok {
		return v, nil
	}
	if err := b.db.Err(); err != nil {
		return nil, err
	}
	v, err := b.lookUp(key)
	if err != nil {
		return nil, b.db.fail(fmt.Errorf("get from index: %w", classify(err)))
	}
	if !b.cold {
		b.db.hot.put(string(key), v)
	}
	return v, nil
}

// lookUp asks Pebble. Most keys that get here are new ids, which are nowhere: an
// iterator that heeds the filters of the last level, as Pebble's Get does not,
// finds that out without reading a block. One serves the whole batch, since nobody
// else writes.
func (b *Batch) lookUp(key []byte) ([]byte, error) {
	if b.seek == nil {
		it, err := b.db.pebble.NewIter(&pebble.IterOptions{UseL6Filters: true})
		if err != nil {
			return nil, err
		}
		b.seek = it
	}
	if !b.seek.SeekPrefixGE(key) {
		return nil, b.seek.Error()
	}
	v, err := b.seek.ValueAndErr()
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(v)) // never nil
	copy(out, v)
	return out, nil
}

// Close undoes what was not committed and lets go of what the batch held.
func (b *Batch) Close() error {
	if b.seek == nil {
		return nil
	}
	if err := b.db.insist(b.closeSeek); err != nil {
		return b.db.fail(fmt.Errorf("close batch: %w", classify(err)))
	}
	return nil
}

// closeSeek closes what Get looks keys up with, once: a Commit that was left behind may
// be at it, too.
func (b *Batch) closeSeek() error {
	if b.seek == nil {
		return nil
	}
	b.closing.Do(func() { b.closed = b.seek.Close() })
	return b.closed
}

// Set copies key and value.
func (b *Batch) Set(key, value []byte) error {
	v := make([]byte, len(value)) // never nil
	copy(v, value)
	return b.write(key, v)
}

// Delete of an absent key is no error.
func (b *Batch) Delete(key []byte) error { return b.write(key, nil) }

func (b *Batch) write(key, value []byte) error {
	if len(key) == 0 || key[0] == reserved {
		return fmt.Errorf("write to index, key %x: %w", key, errReserved)
	}
	if _, ok := b.writes[string(key)]; !ok {
		b.fresh = append(b.fresh, string(key))
	}
	b.writes[string(key)] = value
	return nil
}

// Scan yields the pairs in [lo, hi), ascending, as they were when it began; an empty
// hi is no bound. Keys and values may be kept, not changed. An error ends the sequence
// and is kept for Err and Commit.
func (b *Batch) Scan(lo, hi []byte) iter.Seq2[[]byte, []byte] {
	return pairs(&b.err, func(yield func(k, v []byte) bool) error {
		if err := b.db.Err(); err != nil {
			return err
		}
		own := b.within(lo, hi)
		on := true // yield wants more
		err := scan(b.db.pebble, lo, hi, func(k, v []byte) bool {
			for on && len(own) > 0 && bytes.Compare(own[0].key, k) < 0 {
				on = own[0].yield(yield)
				own = own[1:]
			}
			if on && len(own) > 0 && bytes.Equal(own[0].key, k) {
				on = own[0].yield(yield)
				own = own[1:]
			} else if on {
				on = yield(k, v)
			}
			return on
		})
		if err != nil {
			return b.db.fail(err)
		}
		for on && len(own) > 0 {
			on = own[0].yield(yield)
			own = own[1:]
		}
		return nil
	})
}

type pair struct{ key, value []byte }

// yield passes p on unless it is a deletion.
func (p pair) yield(yield func(k, v []byte) bool) bool {
	return p.value == nil || yield(p.key, p.value)
}

// within returns the batch's own writes in [lo, hi).
func (b *Batch) within(lo, hi []byte) (out []pair) {
	b.sort()
	i, _ := slices.BinarySearch(b.sorted, string(lo))
	for ; i < len(b.sorted) && (len(hi) == 0 || b.sorted[i] < string(hi)); i++ {
		out = append(out, pair{[]byte(b.sorted[i]), b.writes[b.sorted[i]]})
	}
	return out
}

// sort merges the fresh keys into the sorted ones, from the end and in place.
func (b *Batch) sort() {
	slices.Sort(b.fresh)
	i, j := len(b.sorted)-1, len(b.fresh)-1
	b.sorted = append(b.sorted, b.fresh...)
	for at := len(b.sorted) - 1; j >= 0; at-- {
		if i >= 0 && b.sorted[i] > b.fresh[j] {
			b.sorted[at] = b.sorted[i]
			i--
		} else {
			b.sorted[at] = b.fresh[j]
			j--
		}
	}
	b.fresh = b.fresh[:0]
}

// Err returns the first error that ended a Scan.
func (b *Batch) Err() error { return b.err }

// Len returns the number of keys written.
func (b *Batch) Len() int { return len(b.writes) }

// Commit makes the batch the newest state, at pos, which may be where it was. It is visible to the next
// snapshot, not durable, and survives a crash only together with everything before
// it. After an error the batch did not happen and the DB has failed.
func (b *Batch) Commit(pos cluster.Position) error {
	d := b.db
	if b.err != nil {
		return d.fail(fmt.Errorf("commit after a failed scan: %w", b.err))
	}
	b.sort()
	out := d.pebble.NewBatch()
	err := out.Set([]byte(appliedKey), encodeApplied(pos), nil)
	for _, k := range b.sorted {
		if err != nil {
			break
		}
		if v := b.writes[k]; v != nil {
			err = out.Set([]byte(k), v, nil)
		} else {
			err = out.Delete([]byte(k), nil)
		}
	}
	if err == nil {
		err = d.guard(func() error { return errors.Join(b.closeSeek(), out.Commit(pebble.NoSync)) })
	}
	if err != nil {
		return d.fail(fmt.Errorf("commit at %d: %w", pos.LSN, err))
	}
	for k, v := range b.writes {
		if b.cold {
			d.hot.drop(k)
		} else {
			d.hot.put(k, v)
		}
	}
	return d.advance(pos)
}

// advance publishes pos and gives up the snapshot of the state before.
func (d *DB) advance(pos cluster.Position) error {
	d.mu.Lock()
	d.applied = pos // or was told of by a snapshot already
	d.commits++
	old := d.current
	d.current = nil
	d.mu.Unlock()
	if old == nil {
		return nil
	}
	if err := old.release(); err != nil {
		return d.fail(fmt.Errorf("close snapshot: %w", err))
	}
	return nil
}
