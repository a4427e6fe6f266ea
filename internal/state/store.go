package state

import "fmt"

// store is a KV whose first failure makes all that follows do nothing, so that
// Apply reads as what it does. Apply reports the failure at its end, and the
// caller throws the batch away.
type store struct {
	kv  KV
	err error
	key key    // scratch
	buf writer // scratch
}

func (s *store) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *store) get(k key) []byte {
	s.key = k
	if s.err != nil {
		return nil
	}
	b, err := s.kv.Get(k)
	if err != nil {
		s.fail(fmt.Errorf("read state: %w", err))
		return nil
	}
	return b
}

func (s *store) set(k key, value []byte) {
	s.key = k
	if s.err != nil {
		return
	}
	if err := s.kv.Set(k, value); err != nil {
		s.fail(fmt.Errorf("write state: %w", err))
	}
}

func (s *store) delete(k key) {
	s.key = k
	if s.err != nil {
		return
	}
	if err := s.kv.Delete(k); err != nil {
		s.fail(fmt.Errorf("delete from state: %w", err))
	}
}

// mark is the value of keys that say all by being there.
var mark = []byte{recordVersion}

// scan visits the pairs of [lo, hi) until visit returns false. Nothing may be
// written in between.
func (s *store) scan(lo, hi []byte, visit func(k, v []byte) bool) {
	if s.err != nil {
		return
	}
	for k, v := range s.kv.Scan(lo, hi) {
		if !visit(k, v) {
			return
		}
	}
	if err := scanErr(s.kv); err != nil {
		s.fail(err)
	}
}
