package campaign

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// clients are all that use the store during a run.
type clients struct {
	stop   context.CancelFunc // they finish what they are at
	abort  context.CancelFunc // and nothing more
	wg     sync.WaitGroup
	failed atomic.Pointer[error]
}

const (
	beginTime  = time.Minute
	answerTime = 2 * time.Minute // within which everybody has an answer once all is well
)

// clients makes the accounts, waits until the store is whole, and lets them begin.
func (r *run) clients() (*clients, error) {
	begin, cancel := context.WithTimeout(r.ctx, beginTime)
	defer cancel()
	end, abort := context.WithCancel(r.ctx)
	ctx, stop := context.WithCancel(end)
	c := &clients{stop: stop, abort: abort}
	for user := range users {
		w := newWriter(r.w, &r.rec, rand.New(rand.NewPCG(r.seed, uint64(100+user))), user)
		if err := w.prepare(begin); err != nil {
			return nil, fmt.Errorf("prepare: %w", err)
		}
		c.wg.Go(func() {
			if err := w.run(ctx, end); err != nil {
				err = fmt.Errorf("client of %s: %w", userName(user), err)
				c.failed.Store(&err)
			}
		})
	}
	if err := r.level(false); err != nil {
		return nil, fmt.Errorf("at the beginning: %w", err)
	}
	for n := range couriers {
		k := &courier{w: r.w, rec: &r.rec, rng: rand.New(rand.NewPCG(r.seed, uint64(200+n))), n: n}
		c.wg.Go(func() { k.run(ctx, end) })
	}
	return c, nil
}

// end waits until every client has its last answer.
func (c *clients) end() error {
	c.stop()
	defer c.abort()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.wg.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-time.After(answerTime):
	}
	c.abort()
	<-done
	return errors.New("a client has no answer")
}
