package link

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

const (
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 3 * time.Second
)

// kept is a connection a keeper holds.
type kept interface {
	Done() <-chan struct{} // closed when it is of no more use
	Close() error
}

// keeper holds up to max connections to each machine that was asked for, and
// dials again, after a growing pause, when one was lost. One dial a machine is
// under way at a time; while the pause lasts, asking fails at once.
type keeper[T kept] struct {
	dial func(ctx context.Context, m cluster.Machine) (T, error)
	max  int

	ctx    context.Context // of the dials
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	peers  map[cluster.Machine]*keptPeer[T]
	closed bool
}

type keptPeer[T kept] struct {
	conns   []T
	turn    int
	dialing chan struct{} // closed when the dial under way ends; nil if there is none
	err     error         // of the last dial
	backoff time.Duration
	retryAt time.Time
}

func newKeeper[T kept](max int, dial func(context.Context, cluster.Machine) (T, error)) *keeper[T] {
	ctx, cancel := context.WithCancel(context.Background())
	return &keeper[T]{dial: dial, max: max, ctx: ctx, cancel: cancel, peers: map[cluster.Machine]*keptPeer[T]{}}
}

// get returns a live connection to m, in turn if there are several. It waits for
// a dial only if there is none.
func (k *keeper[T]) get(ctx context.Context, m cluster.Machine) (T, error) {
	for {
		c, wait, err := k.pick(m)
		if wait == nil {
			return c, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return c, fmt.Errorf("connect to machine %s: %w", m, context.Cause(ctx))
		}
	}
}

func (k *keeper[T]) pick(m cluster.Machine) (c T, wait <-chan struct{}, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return c, nil, fmt.Errorf("connect to machine %s: %w", m, cluster.ErrStopped)
	}
	p := k.peers[m]
	if p == nil {
		p = &keptPeer[T]{}
		k.peers[m] = p
	}
	p.dropDead()
	may := p.dialing == nil && !time.Now().Before(p.retryAt)
	if len(p.conns) < k.max && may {
		k.startDial(m, p)
	}
	switch {
	case len(p.conns) > 0:
		p.turn++
		return p.conns[p.turn%len(p.conns)], nil, nil
	case p.dialing != nil:
		return c, p.dialing, nil
	}
	return c, nil, fmt.Errorf("waiting before the next try: %w", p.err)
}

func (p *keptPeer[T]) dropDead() {
	live := p.conns[:0]
	for _, c := range p.conns {
		select {
		case <-c.Done():
		default:
			live = append(live, c)
		}
	}
	clear(p.conns[len(live):])
	p.conns = live
}

func (k *keeper[T]) startDial(m cluster.Machine, p *keptPeer[T]) {
	done := make(chan struct{})
	p.dialing = done
	k.wg.Go(func() {
		c, err := k.dial(k.ctx, m)
		k.mu.Lock()
		defer k.mu.Unlock()
		defer close(done)
		p.dialing, p.err = nil, err
		switch {
		case err != nil:
			p.backoff = min(max(2*p.backoff, firstBackoff), maxBackoff)
			p.retryAt = time.Now().Add(p.backoff/2 + rand.N(p.backoff/2))
		case k.closed:
			k.wg.Go(func() { _ = c.Close() })
		default:
			p.backoff = 0
			p.conns = append(p.conns, c)
		}
	})
}

// drop closes the connections to m, e.g. because it moved or was removed.
func (k *keeper[T]) drop(m cluster.Machine) error {
	k.mu.Lock()
	var conns []T
	if p := k.peers[m]; p != nil {
		conns, p.conns = p.conns, nil
		if p.dialing == nil {
			delete(k.peers, m)
		}
	}
	k.mu.Unlock()
	return closeAll(conns)
}

// close ends everything and waits.
func (k *keeper[T]) close() error {
	k.mu.Lock()
	k.closed = true
	var conns []T
	for _, p := range k.peers {
		conns = append(conns, p.conns...)
	}
	clear(k.peers)
	k.mu.Unlock()
	k.cancel()
	err := closeAll(conns)
	k.wg.Wait()
	return err
}

func closeAll[T kept](conns []T) error {
	var errs []error
	for _, c := range conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
