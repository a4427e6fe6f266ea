package slot

import (
	"context"
	"sync/atomic"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/index"
)

// flushEvery is how much journal may be applied before the index is flushed: what
// a kill makes the next open replay is about this much.
const flushEvery = 64 << 20

// flusher flushes the index now and then, beside the applier.
type flusher struct {
	index   *index.DB
	flushed atomic.Uint64 // LSN
	wake    chan struct{} // buffer of one
	asks    chan chan<- cluster.LSN
}

func newFlusher(db *index.DB) *flusher {
	f := &flusher{index: db, wake: make(chan struct{}, 1), asks: make(chan chan<- cluster.LSN)}
	f.flushed.Store(uint64(db.Applied().LSN))
	return f
}

// applied tells how far the index is.
func (f *flusher) applied(lsn cluster.LSN) {
	if uint64(lsn)-f.flushed.Load() < flushEvery {
		return
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// durable returns when everything that was in the index before the call is on disk,
// and a position that is.
func (f *flusher) durable(ctx context.Context) (cluster.LSN, error) {
	done := make(chan cluster.LSN, 1)
	select {
	case f.asks <- done:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	select {
	case lsn := <-done:
		return lsn, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// run flushes until ctx ends. An index that cannot be flushed has failed and says
// so itself.
func (f *flusher) run(ctx context.Context) {
	for {
		var asked chan<- cluster.LSN
		select {
		case <-f.wake:
		case asked = <-f.asks:
		case <-ctx.Done():
			return
		}
		at, err := f.index.Flush()
		if err != nil {
			return
		}
		f.flushed.Store(uint64(at.LSN))
		if asked != nil {
			asked <- at.LSN
		}
	}
}
