package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// lease renews itself three times a TTL. Its own deadline counts from when the
// last answered renewal was sent, so that it ends here before it ends there.
type lease struct {
	client *Client
	id     clientv3.LeaseID
	lost   chan struct{}
	stop   context.CancelFunc
	done   chan struct{}
	once   sync.Once
}

// Lease implements coord.Coord. etcd grants whole seconds, and at least one and
// a half election timeouts.
func (c *Client) Lease(ctx context.Context, ttl time.Duration) (coord.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	sent := c.now()
	resp, err := c.etcd.Grant(ctx, int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return nil, fmt.Errorf("grant a lease: %w: %w", coord.ErrUnavailable, err)
	}
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &lease{client: c, id: resp.ID, lost: make(chan struct{}), stop: stop, done: make(chan struct{})}
	go l.keep(keeping, time.Duration(resp.TTL)*time.Second, sent)
	return l, nil
}

// keep owns the lease until it is lost or closed.
func (l *lease) keep(ctx context.Context, ttl time.Duration, sent time.Time) {
	defer close(l.done)
	defer l.end()
	deadline := sent.Add(ttl)
	tick := time.NewTicker(ttl / 3)
	defer tick.Stop()
	for {
		left := deadline.Sub(l.client.now())
		if left <= 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-time.After(left):
			return
		}
		sent := l.client.now()
		call, cancel := context.WithTimeout(ctx, min(deadline.Sub(sent), ttl/3))
		resp, err := l.client.etcd.KeepAliveOnce(call, l.id)
		cancel()
		switch {
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			return
		case err == nil:
			deadline = sent.Add(time.Duration(resp.TTL) * time.Second)
		}
	}
}

func (l *lease) end() { l.once.Do(func() { close(l.lost) }) }

func (l *lease) Lost() <-chan struct{} { return l.lost }

func (l *lease) Txn(ctx context.Context, t coord.Txn) (bool, cluster.Rev, error) {
	select {
	case <-l.lost:
		return false, 0, coord.ErrLeaseLost
	default:
		return l.client.txn(ctx, t, l.id)
	}
}

func (l *lease) Close(ctx context.Context) error {
	l.stop()
	<-l.done
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := l.client.etcd.Revoke(ctx, l.id)
	if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return fmt.Errorf("revoke a lease: %w: %w", coord.ErrUnavailable, err)
	}
	return nil
}
