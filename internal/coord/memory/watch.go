package memory

import (
	"strings"
	"sync"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// maxBehind is the number of batches a watcher may be behind before its watch
// ends; it can begin again after the last revision it saw.
const maxBehind = 10_000

type watcher struct {
	prefix string

	mu    sync.Mutex
	queue [][]coord.Change
	err   error
	wake  chan struct{} // buffer of one
}

// watch registers a watcher and gives it what happened after the revision.
func (s *Server) watch(prefix string, after cluster.Rev) (*watcher, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case after > s.rev:
		return nil, coord.ErrRewound
	case after < s.compacted:
		return nil, coord.ErrCompacted
	}
	w := &watcher{prefix: prefix, wake: make(chan struct{}, 1)}
	var batch []coord.Change
	for i, c := range s.log {
		if c.Rev <= after {
			continue
		}
		batch = append(batch, c)
		if i+1 == len(s.log) || s.log[i+1].Rev != c.Rev {
			w.offer(batch)
			batch = nil
		}
	}
	s.watchers[w] = struct{}{}
	return w, nil
}

func (s *Server) unwatch(w *watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watchers, w)
}

// offer never blocks: the server calls it under its lock.
func (w *watcher) offer(batch []coord.Change) {
	var mine []coord.Change
	for _, c := range batch {
		if strings.HasPrefix(c.Key, w.prefix) {
			mine = append(mine, c)
		}
	}
	if len(mine) == 0 {
		return
	}
	w.mu.Lock()
	if len(w.queue) < maxBehind {
		w.queue = append(w.queue, mine)
	} else if w.err == nil {
		w.err = coord.ErrUnavailable
	}
	w.mu.Unlock()
	w.signal()
}

func (w *watcher) end(err error) {
	w.mu.Lock()
	if w.err == nil {
		w.err = err
	}
	w.mu.Unlock()
	w.signal()
}

func (w *watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// next takes the oldest batch; the error comes after the last of them.
func (w *watcher) next() ([]coord.Change, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return nil, w.err
	}
	batch := w.queue[0]
	w.queue = w.queue[1:]
	return batch, nil
}
