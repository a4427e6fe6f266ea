package slot

import (
	"fmt"
	"iter"
	"sync"

	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/mail"
)

// snapshot is one picture of the index. It ends with its incarnation, whoever
// holds it: a session that keeps a View must not keep a slot from closing. Then
// its reads answer mail.ErrMoved. One goroutine, as a View.
type snapshot struct {
	inc  *incarnation
	snap *index.Snapshot
}

// snapshot takes a picture of the newest state.
func (inc *incarnation) snapshot() (*snapshot, error) {
	if !inc.views.enter() {
		return nil, mail.ErrMoved
	}
	defer inc.views.leave()
	snap, err := inc.index.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("take a picture of the state: %w", err)
	}
	s := &snapshot{inc: inc, snap: snap}
	inc.views.hold(s)
	return s, nil
}

// release lets the picture go. Calling it again is harmless.
func (s *snapshot) release() {
	if !s.inc.views.enter() {
		return // the incarnation has let it go, or is about to
	}
	defer s.inc.views.leave()
	if s.inc.views.give(s) {
		s.close()
	}
}

func (s *snapshot) close() {
	if err := s.snap.Close(); err != nil {
		s.inc.log.Warn("picture of the state not closed", "err", err)
	}
}

// Get implements state.Reader.
func (s *snapshot) Get(key []byte) ([]byte, error) {
	if !s.inc.views.enter() {
		return nil, mail.ErrMoved
	}
	defer s.inc.views.leave()
	return s.snap.Get(key)
}

// GetAll implements state.Batcher.
func (s *snapshot) GetAll(keys [][]byte) ([][]byte, error) {
	if !s.inc.views.enter() {
		return nil, mail.ErrMoved
	}
	defer s.inc.views.leave()
	return s.snap.GetAll(keys)
}

// Pairs that a Scan reads at once: few at first, since most scans are short.
const (
	firstPairs = 16
	mostPairs  = 1024
)

type pair struct{ key, value []byte }

// Scan implements state.Reader. It reads ahead, so that nobody is inside while
// the caller does something slow with what it got.
func (s *snapshot) Scan(lo, hi []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		for n := firstPairs; ; n = min(4*n, mostPairs) {
			pairs := s.some(lo, hi, n)
			for _, p := range pairs {
				if !yield(p.key, p.value) {
					return
				}
			}
			if len(pairs) < n {
				return
			}
			lo = append(pairs[n-1].key[:len(pairs[n-1].key):len(pairs[n-1].key)], 0)
		}
	}
}

// some reads up to n pairs.
func (s *snapshot) some(lo, hi []byte, n int) (pairs []pair) {
	if !s.inc.views.enter() {
		return nil // Err tells
	}
	defer s.inc.views.leave()
	for k, v := range s.snap.Scan(lo, hi) {
		if pairs = append(pairs, pair{k, v}); len(pairs) == n {
			break
		}
	}
	return pairs
}

// Err tells whether a Scan may have ended early.
func (s *snapshot) Err() error {
	if !s.inc.views.enter() {
		return mail.ErrMoved
	}
	defer s.inc.views.leave()
	return s.snap.Err()
}

// views are the pictures of an incarnation. Reads are inside for as long as they
// touch the index and no longer.
type views struct {
	mu     sync.Mutex
	inside int
	closed bool
	empty  chan struct{} // made by close; closed when nobody is inside
	held   map[*snapshot]struct{}
}

func (v *views) enter() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return false
	}
	v.inside++
	return true
}

func (v *views) leave() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.inside--
	if v.closed && v.inside == 0 {
		close(v.empty)
	}
}

func (v *views) hold(s *snapshot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.held == nil {
		v.held = map[*snapshot]struct{}{}
	}
	v.held[s] = struct{}{}
}

// give takes s out of what is held, once.
func (v *views) give(s *snapshot) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.held[s]
	delete(v.held, s)
	return ok
}

// close lets nobody in any more, waits until nobody is inside, which takes as
// long as one read of the index, and gives every picture up.
func (v *views) close() {
	v.mu.Lock()
	v.closed, v.empty = true, make(chan struct{})
	if v.inside == 0 {
		close(v.empty)
	}
	empty := v.empty
	v.mu.Unlock()
	<-empty
	v.mu.Lock()
	held := v.held
	v.held = nil
	v.mu.Unlock()
	for s := range held {
		s.close()
	}
}
