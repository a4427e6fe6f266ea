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
	settleEvery = time.Second
	settleTime  = 3 * time.Second
	// settleBatch is how many references one request carries, settleMost how many
	// wait for a store. Beyond it the newest are dropped: what is never settled is in
	// doubt after a while, which costs nobody a message.
	settleBatch = 500
	settleMost  = 50_000
)

// settler gathers what MTAs have seen and tells the stores in batches. Nobody
// waits for it.
type settler struct {
	deliver Deliverer
	log     *slog.Logger
	wake    chan struct{} // buffer of one: something is in doubt

	mu      sync.Mutex
	waiting map[cluster.Store]*deliver.Settle
}

func newSettler(d Deliverer, log *slog.Logger) *settler {
	return &settler{deliver: d, log: log, wake: make(chan struct{}, 1), waiting: map[cluster.Store]*deliver.Settle{}}
}

func (s *settler) add(list []delivered, confirmed bool) {
	if len(list) == 0 {
		return
	}
	s.mu.Lock()
	for _, d := range list {
		w := s.waiting[d.store]
		if w == nil {
			w = &deliver.Settle{Store: d.store}
			s.waiting[d.store] = w
		}
		to := &w.InDoubt
		if confirmed {
			to = &w.Confirmed
		}
		if len(*to) < settleMost {
			*to = append(*to, d.ref)
		}
	}
	s.mu.Unlock()
	if !confirmed {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (s *settler) run(ctx context.Context) error {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.wake:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
			defer cancel()
			s.flush(last)
			return ctx.Err()
		}
		s.flush(ctx)
	}
}

// flush tells each store, all at once; what fails waits for the next time.
func (s *settler) flush(ctx context.Context) {
	s.mu.Lock()
	now := s.waiting
	s.waiting = map[cluster.Store]*deliver.Settle{}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	var wg sync.WaitGroup
	for _, w := range now {
		wg.Add(1)
		go func() {
			defer wg.Done()
			s.tell(ctx, w)
		}()
	}
	wg.Wait()
}

func (s *settler) tell(ctx context.Context, w *deliver.Settle) {
	for len(w.Confirmed)+len(w.InDoubt) > 0 {
		part := deliver.Settle{Store: w.Store}
		part.Confirmed, w.Confirmed = cut(w.Confirmed)
		part.InDoubt, w.InDoubt = cut(w.InDoubt)
		if err := s.deliver.Settle(ctx, part); err != nil {
			s.log.Debug("replies not settled", "store", w.Store, "err", err)
			s.giveBack(part, w)
			return
		}
	}
}

func cut(refs []state.DeliveryRef) (first, rest []state.DeliveryRef) {
	n := min(len(refs), settleBatch)
	return refs[:n:n], refs[n:]
}

func (s *settler) giveBack(part deliver.Settle, rest *deliver.Settle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := s.waiting[rest.Store]
	if to == nil {
		to = &deliver.Settle{Store: rest.Store}
		s.waiting[rest.Store] = to
	}
	if len(to.Confirmed)+len(to.InDoubt) < settleMost {
		to.Confirmed = append(append(to.Confirmed, part.Confirmed...), rest.Confirmed...)
		to.InDoubt = append(append(to.InDoubt, part.InDoubt...), rest.InDoubt...)
	}
}
