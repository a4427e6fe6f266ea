package proxy

import (
	"context"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/route"
)

// rewatch bounds one wait for a change of a route.
const rewatch = time.Minute

// stores tells streams to masters that another machine has become master: whoever
// waits for the old one waits no longer. One goroutine watches for all streams of
// a store, and ends with the last of them.
type stores struct {
	routes Routes
	wg     sync.WaitGroup

	mu sync.Mutex
	m  map[cluster.Store]*watched
}

type watched struct {
	now    route.Route
	ends   map[*attached]struct{}
	cancel context.CancelFunc
}

// attached is one that uses a route until it is over.
type attached struct {
	to   route.Route
	over func()
}

func newStores(r Routes) *stores {
	return &stores{routes: r, m: map[cluster.Store]*watched{}}
}

// attach calls over, once, when the store of to has a later master on another
// machine; that may be before attach returns. detach ends it.
func (s *stores) attach(to route.Route, over func()) (detach func()) {
	a := &attached{to, over}
	s.mu.Lock()
	w := s.m[to.Store]
	if w == nil {
		ctx, cancel := context.WithCancel(context.Background())
		w = &watched{now: to, ends: map[*attached]struct{}{}, cancel: cancel}
		s.m[to.Store] = w
		s.wg.Go(func() { s.watch(ctx, w) })
	}
	w.ends[a] = struct{}{}
	late := replaced(to, w.now)
	s.mu.Unlock()
	if late {
		over()
	}
	return func() { s.detach(w, a) }
}

func (s *stores) detach(w *watched, a *attached) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(w.ends, a)
	if len(w.ends) == 0 && s.m[a.to.Store] == w {
		w.cancel()
		delete(s.m, a.to.Store)
	}
}

func (s *stores) watch(ctx context.Context, w *watched) {
	last := w.now
	for {
		now, err := s.routes.Await(ctx, last, rewatch)
		if err != nil {
			return
		}
		if now == last {
			continue
		}
		last = now
		for _, a := range s.change(w, now) {
			a.over()
		}
	}
}

func (s *stores) change(w *watched, now route.Route) []*attached {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.now = now
	var over []*attached
	for a := range w.ends {
		if replaced(a.to, now) {
			over = append(over, a)
			a.to = now // once
		}
	}
	return over
}

// replaced: another machine is master now. The same machine in a later epoch may
// still know the session, and says so if it does not.
func replaced(old, now route.Route) bool {
	return now.Master != "" && now.Master != old.Master && now.Epoch > old.Epoch
}
