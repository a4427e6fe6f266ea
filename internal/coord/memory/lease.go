package memory

import (
	"context"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// grant is the server's side of a lease.
type grant struct {
	id   uint64
	ttl  time.Duration
	stop func() bool
}

func (s *Server) grant(ttl time.Duration) *grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextLease++
	g := &grant{id: s.nextLease, ttl: max(ttl, s.cfg.MinTTL)}
	s.leases[g.id] = g
	s.armLocked(g)
	return g
}

func (s *Server) armLocked(g *grant) {
	g.stop = s.cfg.AfterFunc(g.ttl, func() { s.revoke(g.id) })
}

// renew reports false if the lease is gone.
func (s *Server) renew(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.leases[id]
	if g == nil {
		return false
	}
	g.stop()
	s.armLocked(g)
	return true
}

func (s *Server) revoke(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.leases[id]
	if g == nil {
		return
	}
	g.stop()
	delete(s.leases, id)
	var ops []coord.Op
	for k, e := range s.keys {
		if e.lease == id {
			ops = append(ops, coord.Delete(k))
		}
	}
	sortOps(ops)
	s.applyLocked(ops, 0)
}

// lease is the client's side: it renews three times a TTL, and counts the TTL
// from when it sent the last renewal that was answered.
type lease struct {
	client *Client
	id     uint64
	ttl    time.Duration

	mu       sync.Mutex
	deadline time.Time
	ended    bool
	lost     chan struct{}
	stop     func() bool
}

// Lease implements coord.Coord.
func (c *Client) Lease(ctx context.Context, ttl time.Duration) (coord.Lease, error) {
	sent := c.server.cfg.Now()
	if err := c.reach(ctx); err != nil {
		return nil, err
	}
	g := c.server.grant(ttl)
	l := &lease{client: c, id: g.id, ttl: g.ttl, deadline: sent.Add(g.ttl), lost: make(chan struct{})}
	l.mu.Lock()
	l.arm()
	l.mu.Unlock()
	return l, nil
}

// arm is called under the lock.
func (l *lease) arm() { l.stop = l.client.server.cfg.AfterFunc(l.ttl/3, l.tick) }

func (l *lease) tick() {
	now := l.client.server.cfg.Now()
	reached := l.client.faults().Down == nil
	renewed := reached && l.client.server.renew(l.id)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ended:
	case renewed:
		l.deadline = now.Add(l.ttl)
		l.arm()
	case reached, !now.Before(l.deadline):
		l.end()
	default:
		l.stop = l.client.server.cfg.AfterFunc(min(l.ttl/3, l.deadline.Sub(now)), l.tick)
	}
}

// end is called under the lock.
func (l *lease) end() {
	if !l.ended {
		l.ended = true
		l.stop()
		close(l.lost)
	}
}

func (l *lease) Lost() <-chan struct{} { return l.lost }

func (l *lease) Txn(ctx context.Context, t coord.Txn) (bool, cluster.Rev, error) {
	l.mu.Lock()
	ended := l.ended
	l.mu.Unlock()
	if ended {
		return false, 0, coord.ErrLeaseLost
	}
	return l.client.txn(ctx, t, l.id)
}

func (l *lease) Close(ctx context.Context) error {
	l.mu.Lock()
	l.end()
	l.mu.Unlock()
	if err := l.client.reach(ctx); err != nil {
		return err
	}
	l.client.server.revoke(l.id)
	return nil
}

// Stretch makes every lease last d longer this once, as etcd's new leader does.
func (s *Server) Stretch(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.leases {
		g.stop()
		g.stop = s.cfg.AfterFunc(g.ttl+d, func() { s.revoke(g.id) })
	}
}
