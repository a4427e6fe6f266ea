package etcd

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

const (
	// handOnTimeout bounds the transfer of leadership; it takes 50-100 ms, and who
	// cannot take it is stopping too.
	handOnTimeout = 500 * time.Millisecond
	closeTimeout  = 10 * time.Second
)

// servers are the gRPC servers of a member's client port.
type servers struct {
	mu   sync.Mutex
	list []*grpc.Server
}

func (s *servers) add(g *grpc.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, g)
}

func (s *servers) stop() {
	s.mu.Lock()
	list := s.list
	s.mu.Unlock()
	for _, g := range list {
		g.Stop()
	}
}

// stop ends the member in an order of its own. etcd's would first wait 7 s for
// watches to end, which never do, then up to as long for a successor that may be
// stopping too; and a member that never got ready it could not stop at all.
func (m *Member) stop(e *embed.Etcd) error {
	m.stopping.Store(true)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		handOn(e)
		m.clients.stop()
		e.Server.HardStop()
		e.Close()
	}()
	t := time.NewTimer(closeTimeout)
	defer t.Stop()
	select {
	case <-closed:
		return nil
	case <-t.C:
		// What etcd called fatal ended one of its goroutines, and others wait for it.
		return fmt.Errorf("etcd member %s did not stop in %v", m.cfg.Name, closeTimeout)
	}
}

// handOn gives leadership to another member, if this one has it and one of them
// takes it in time: it spares the others an election.
func handOn(e *embed.Etcd) {
	ctx, cancel := context.WithTimeout(context.Background(), handOnTimeout)
	defer cancel()
	self := e.Server.MemberID()
	for _, o := range e.Server.Cluster().Members() {
		if e.Server.Leader() != self || ctx.Err() != nil {
			return
		}
		if o.ID == self || o.IsLearner {
			continue
		}
		attempt, stop := context.WithTimeout(ctx, handOnTimeout/2)
		_ = e.Server.MoveLeader(attempt, uint64(self), uint64(o.ID)) // the next one, or an election
		stop()
	}
}
