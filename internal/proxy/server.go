package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/latency"
	"github.com/tandemail/tandemail/internal/session"
)

// Server serves clients. Use New.
type Server struct {
	cfg    Config
	limits *limits
	counts counters
	holds  *latency.Histogram // of waits for a master
	stores *stores

	mu       sync.Mutex
	sessions map[*client]struct{}
	done     bool // no new connections
	wg       sync.WaitGroup
}

// New builds a server.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Server{
		cfg: cfg, limits: newLimits(cfg), holds: latency.New(holdBounds...), stores: newStores(cfg.Routes),
		sessions: map[*client]struct{}{},
	}, nil
}

// Serve accepts clients from ln, which it closes, until ctx is done or accepting
// fails for good. Then clients that wait for nothing get a BYE, commands under way
// have Config.Drain to end, and it returns when all clients have gone: nil if ctx
// was done. A server serves once; several listeners may be served at a time.
func (s *Server) Serve(ctx context.Context, ln Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	if err := s.check(ln); err != nil {
		return errors.Join(err, ln.Close())
	}
	sessions, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	err := s.accept(ctx, sessions, ln)
	_ = ln.Close() // second time if ctx is done
	s.drain(cancel)
	return err
}

func (s *Server) check(ln Listener) error {
	switch {
	case dialectOf(ln.Protocol) == nil:
		return fmt.Errorf("serve clients: protocol %d is not spoken", ln.Protocol)
	case ln.TLS && s.cfg.TLS == nil:
		return errors.New("serve clients: implicit TLS needs a certificate")
	}
	return nil
}

func dialectOf(p session.Protocol) func() dialect {
	if p == session.IMAP {
		return newIMAP
	}
	return nil
}

func (s *Server) accept(ctx, sessions context.Context, ln Listener) error {
	const firstPause, maxPause = 5 * time.Millisecond, time.Second
	pause := firstPause
	for {
		nc, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = nc.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept client: %w", err)
		case err != nil: // out of descriptors, or the peer was gone already
			s.cfg.Log.Error("accept client", "err", err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause = min(2*pause, maxPause)
			continue
		}
		pause = firstPause
		s.start(sessions, nc, ln)
	}
}

func (s *Server) start(ctx context.Context, nc net.Conn, ln Listener) {
	c := newClient(s, nc, ln)
	if refusal := s.admit(c); refusal != none {
		s.counts.byes[refusal].Add(1)
		if !ln.TLS {
			_ = nc.SetWriteDeadline(time.Now().Add(refuseTimeout))
			_, _ = nc.Write(c.dialect.bye(refusal)) // fits an empty send buffer; the peer may be gone
		}
		_ = nc.Close()
		return
	}
	go func() {
		defer s.leave(c)
		c.serve(ctx)
	}()
}

func (s *Server) admit(c *client) bye {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.done:
		return byeShutdown
	case len(s.sessions) >= s.cfg.MaxConns, !s.limits.addressIn(c.remote):
		return byeTooMany
	}
	s.sessions[c] = struct{}{}
	s.wg.Add(1)
	s.counts.connections.Add(1)
	return none
}

func (s *Server) leave(c *client) {
	s.limits.addressOut(c.remote)
	s.mu.Lock()
	delete(s.sessions, c)
	s.mu.Unlock()
	s.wg.Done()
}

// drain tells all sessions to end and waits for them.
func (s *Server) drain(cancel context.CancelFunc) {
	for _, c := range s.stop() {
		c.lc.Interrupt()
	}
	gone := make(chan struct{})
	go func() { s.wg.Wait(); close(gone) }()
	timer := time.NewTimer(s.cfg.Drain)
	defer timer.Stop()
	select {
	case <-gone:
		return
	case <-timer.C:
	}
	cancel()
	for _, c := range s.stop() {
		_ = c.lc.Close()
	}
	<-gone
}

// stop refuses new connections and returns those there are.
func (s *Server) stop() []*client {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
	all := make([]*client, 0, len(s.sessions))
	for c := range s.sessions {
		all = append(all, c)
	}
	return all
}
