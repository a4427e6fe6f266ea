package state

import (
	"bytes"
	"iter"
)

// overlay is a Reader with changes on top that never reach it.
type overlay struct {
	base Reader
	top  *MapKV // value with a first octet: 1 set, 0 deleted
}

func newOverlay(base Reader) *overlay { return &overlay{base, NewMapKV()} }

func (o *overlay) Get(key []byte) ([]byte, error) {
	if v, _ := o.top.Get(key); v != nil {
		if v[0] == 0 {
			return nil, nil
		}
		return v[1:], nil
	}
	return o.base.Get(key)
}

func (o *overlay) Set(key, value []byte) error {
	return o.top.Set(key, append([]byte{1}, value...))
}

func (o *overlay) Delete(key []byte) error { return o.top.Set(key, []byte{0}) }

// Err implements the optional part of Reader for the base.
func (o *overlay) Err() error { return scanErr(o.base) }

// Scan merges both; where both have a key, the top's counts.
func (o *overlay) Scan(lo, hi []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		next, stop := iter.Pull2(o.top.Scan(lo, hi))
		defer stop()
		tk, tv, more := next()
		// before yields what the top has below key; all of it for a nil key.
		before := func(key []byte) bool {
			for more && (key == nil || bytes.Compare(tk, key) < 0) {
				if tv[0] == 1 && !yield(tk, tv[1:]) {
					return false
				}
				tk, tv, more = next()
			}
			return true
		}
		for k, v := range o.base.Scan(lo, hi) {
			if !before(k) {
				return
			}
			if more && bytes.Equal(tk, k) {
				continue // the next before yields it, or drops it
			}
			if !yield(k, v) {
				return
			}
		}
		before(nil)
	}
}
