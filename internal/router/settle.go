package router

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/deliver"
	"github.com/tandemail/tandemail/internal/state"
)

const (
	// settleEvery is how long confirmations gather; what is in doubt is told at once.
	settleEvery = time.Second
	settleTime  = 3 * time.Second
	// settleMost is how many references wait for a store. Beyond it the newest are
	// dropped: what is never settled is in doubt after a while, which keeps the
	// store from taking one more message with the same octets.
	settleMost = 50_000
)

// settler gathers what MTAs have seen and tells the stores in batches. Nobody
// waits for it, and no store for another.
type settler struct {
	deliver Deliverer
	log     *slog.Logger
	wake    chan struct{} // buffer of one: something is in doubt

	mu     sync.Mutex
	stores map[cluster.Store]*unsettled
	wg     sync.WaitGroup // those who tell
}

// unsettled is what one store has not been told.
type unsettled struct {
	deliver.Settle
	telling bool // a goroutine tells it
	dropped int
}

func newSettler(d Deliverer, log *slog.Logger) *settler {
	return &settler{deliver: d, log: log, wake: make(chan struct{}, 1), stores: map[cluster.Store]*unsettled{}}
}

// add takes deliveries whose replies an MTA has seen, or may not have seen.
func (s *settler) add(list []delivered, confirmed bool) {
	if len(list) == 0 {
		return
	}
	s.mu.Lock()
	for _, d := range list {
		s.store(d.store).add(d.ref, confirmed)
	}
	s.mu.Unlock()
	if !confirmed {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// store is called with the lock held.
func (s *settler) store(name cluster.Store) *unsettled {
	u := s.stores[name]
	if u == nil {
		u = &unsettled{Settle: deliver.Settle{Store: name}}
		s.stores[name] = u
	}
	return u
}

func (u *unsettled) add(ref state.DeliveryRef, confirmed bool) {
	switch {
	case len(u.Confirmed)+len(u.InDoubt) >= settleMost:
		u.dropped++
	case confirmed:
		u.Confirmed = append(u.Confirmed, ref)
	default:
		u.InDoubt = append(u.InDoubt, ref)
	}
}

// cut takes the first part off, as much as one request carries: doubts first,
// since they are what a retry meets.
func (u *unsettled) cut() deliver.Settle {
	part := deliver.Settle{Store: u.Store}
	n := min(len(u.InDoubt), deliver.MaxRefs)
	part.InDoubt, u.InDoubt = u.InDoubt[:n:n], u.InDoubt[n:]
	n = min(len(u.Confirmed), deliver.MaxRefs-n)
	part.Confirmed, u.Confirmed = u.Confirmed[:n:n], u.Confirmed[n:]
	return part
}

// putBack takes a part again that could not be told.
func (u *unsettled) putBack(part deliver.Settle) {
	u.InDoubt = append(part.InDoubt, u.InDoubt...)
	u.Confirmed = append(part.Confirmed, u.Confirmed...)
}

func (u *unsettled) empty() bool { return len(u.Confirmed)+len(u.InDoubt) == 0 }

// run tells until ctx ends, and then a last time.
func (s *settler) run(ctx context.Context) {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-s.wake:
		case <-ctx.Done():
			continue
		}
		s.flush(ctx)
	}
	s.wg.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	s.flush(last)
	s.wg.Wait()
}

// flush begins to tell each store that is not being told.
func (s *settler) flush(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, u := range s.stores {
		switch {
		case u.telling:
		case u.empty():
			delete(s.stores, name)
		default:
			u.telling = true
			s.wg.Go(func() { s.tell(ctx, u) })
		}
	}
}

// tell tells one store all there is. What fails waits for the next time.
func (s *settler) tell(ctx context.Context, u *unsettled) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		part, dropped, ok := s.next(u)
		if dropped > 0 {
			s.log.Warn("too many replies wait to be settled; the newest are dropped", "store", u.Store, "count", dropped)
		}
		if !ok {
			return
		}
		if err := s.deliver.Settle(ctx, part); err != nil {
			s.log.Debug("replies not settled", "store", u.Store, "err", err)
			s.mu.Lock()
			u.putBack(part)
			u.telling = false
			s.mu.Unlock()
			return
		}
	}
}

// next cuts a part off u; not ok when there is none, and u is no longer being told.
func (s *settler) next(u *unsettled) (part deliver.Settle, dropped int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped, u.dropped = u.dropped, 0
	if u.empty() {
		u.telling = false
		return part, dropped, false
	}
	return u.cut(), dropped, true
}
