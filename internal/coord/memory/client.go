package memory

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// Faults are what is wrong between one client and the server.
type Faults struct {
	// Down, if not nil, is why nothing reaches the server: calls fail at once,
	// watches fall silent and are told what they missed afterwards, leases are not
	// renewed.
	Down error
	// Delay passes before the server sees a request; a caller that gives up
	// earlier does not stop its transaction from happening later.
	Delay time.Duration
	// LoseRequest and LoseAnswer pick transactions that do not arrive, and that
	// happen without the caller being told. nil picks none.
	LoseRequest func(coord.Txn) bool
	LoseAnswer  func(coord.Txn) bool
}

// Client is one connection to the server; it implements coord.Coord.
type Client struct {
	server *Server

	mu      sync.Mutex
	f       Faults
	changed chan struct{} // closed and replaced by SetFaults
}

var _ coord.Coord = (*Client)(nil)

// Client returns a new connection without faults.
func (s *Server) Client() *Client {
	return &Client{server: s, changed: make(chan struct{})}
}

// New returns a client of a server of its own: the simplest coordinator.
func New() *Client { return NewServer(Config{}).Client() }

// Server is the one the client is connected to.
func (c *Client) Server() *Server { return c.server }

// SetFaults replaces the client's faults.
func (c *Client) SetFaults(f Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.f = f
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Client) faults() Faults {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.f
}

// reach is the way to the server, for requests that change nothing.
func (c *Client) reach(ctx context.Context) error {
	f := c.faults()
	if f.Down != nil {
		return fmt.Errorf("%w: %w", coord.ErrUnavailable, f.Down)
	}
	if f.Delay > 0 {
		if err := c.pass(ctx, f.Delay); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", coord.ErrUnavailable, err)
	}
	return nil
}

func (c *Client) pass(ctx context.Context, d time.Duration) error {
	done := make(chan struct{})
	stop := c.server.cfg.AfterFunc(d, func() { close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		stop()
		return fmt.Errorf("%w: %w", coord.ErrUnavailable, ctx.Err())
	}
}

// Get implements coord.Coord.
func (c *Client) Get(ctx context.Context, key string) ([]byte, cluster.Rev, error) {
	if err := c.reach(ctx); err != nil {
		return nil, 0, fmt.Errorf("get %s: %w", key, err)
	}
	value, rev := c.server.get(key)
	return value, rev, nil
}

// List implements coord.Coord.
func (c *Client) List(ctx context.Context, prefix string) ([]coord.KV, cluster.Rev, error) {
	if err := c.reach(ctx); err != nil {
		return nil, 0, fmt.Errorf("list %s: %w", prefix, err)
	}
	return c.server.list(prefix)
}

// Txn implements coord.Coord.
func (c *Client) Txn(ctx context.Context, t coord.Txn) (bool, cluster.Rev, error) {
	return c.txn(ctx, t, 0)
}

type answer struct {
	ok  bool
	rev cluster.Rev
	err error
}

func (c *Client) txn(ctx context.Context, t coord.Txn, lease uint64) (bool, cluster.Rev, error) {
	if err := t.Check(); err != nil {
		return false, 0, err
	}
	if err := ctx.Err(); err != nil {
		return false, 0, fmt.Errorf("%w: %w", coord.ErrUnavailable, err)
	}
	f := c.faults()
	if f.Down != nil {
		return false, 0, fmt.Errorf("%w: %w", coord.ErrUnknown, f.Down)
	}
	if f.LoseRequest != nil && f.LoseRequest(t) {
		return false, 0, fmt.Errorf("%w: the request was lost", coord.ErrUnknown)
	}
	a := answer{}
	if f.Delay > 0 {
		got := make(chan answer, 1)
		c.server.cfg.AfterFunc(f.Delay, func() {
			ok, rev, err := c.server.txn(t, lease)
			got <- answer{ok, rev, err}
		})
		select {
		case a = <-got:
		case <-ctx.Done():
			return false, 0, fmt.Errorf("%w: %w", coord.ErrUnknown, ctx.Err())
		}
	} else {
		a.ok, a.rev, a.err = c.server.txn(t, lease)
	}
	if f.LoseAnswer != nil && f.LoseAnswer(t) {
		return false, 0, fmt.Errorf("%w: the answer was lost", coord.ErrUnknown)
	}
	return a.ok, a.rev, a.err
}

// Watch implements coord.Coord.
func (c *Client) Watch(ctx context.Context, prefix string, after cluster.Rev) iter.Seq2[[]coord.Change, error] {
	return func(yield func([]coord.Change, error) bool) {
		if err := c.reach(ctx); err != nil {
			yield(nil, fmt.Errorf("watch %s: %w", prefix, err))
			return
		}
		w, err := c.server.watch(prefix, after)
		if err != nil {
			yield(nil, fmt.Errorf("watch %s after %d: %w", prefix, after, err))
			return
		}
		defer c.server.unwatch(w)
		for {
			batch, err := c.receive(ctx, w)
			if err != nil {
				yield(nil, fmt.Errorf("watch %s: %w", prefix, err))
				return
			}
			if !yield(batch, nil) {
				return
			}
		}
	}
}

// receive waits until there is a batch and the connection is up.
func (c *Client) receive(ctx context.Context, w *watcher) ([]coord.Change, error) {
	for {
		c.mu.Lock()
		down, changed := c.f.Down != nil, c.changed
		c.mu.Unlock()
		if !down {
			if batch, err := w.next(); batch != nil || err != nil {
				return batch, err
			}
		}
		select {
		case <-w.wake:
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func sortOps(ops []coord.Op) {
	slices.SortFunc(ops, func(a, b coord.Op) int { return strings.Compare(a.Key, b.Key) })
}
