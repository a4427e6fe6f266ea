package link

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/pki"
)

// Handler serves one stream, which is closed when it returns. ctx ends when the
// server does, and on a multiplexed connection also when that is gone.
type Handler func(ctx context.Context, s *Stream)

// ServerConfig says what a Server does. Identity, Allowed and Log are required;
// zero elsewhere means the value named.
type ServerConfig struct {
	Identity *pki.Identity
	Allowed  pki.Allowed
	Log      *slog.Logger

	Mux map[string]Handler // services on multiplexed connections
	Raw map[string]Handler // services with a connection of their own

	MaxConns         int           // 256; more are closed
	MaxStreams       int           // of a multiplexed connection; 4,096; more are refused
	HandshakeTimeout time.Duration // for TLS, and for a stream's header; 10 seconds
	Drain            time.Duration // for handlers when the server ends; 5 seconds
}

// Server accepts connections of the cluster's machines on the internal port.
type Server struct {
	cfg ServerConfig
	log *slog.Logger
	tls *tls.Config

	mu    sync.Mutex
	conns map[net.Conn]cluster.Machine // "" before the handshake
	done  bool
	wg    sync.WaitGroup

	accepted, refused int64 // so far; with mu
}

// NewServer builds a server.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Identity == nil || cfg.Allowed == nil || cfg.Log == nil {
		return nil, errors.New("link server: Identity, Allowed and Log are required")
	}
	cfg.MaxConns = cmp.Or(cfg.MaxConns, 256)
	cfg.MaxStreams = cmp.Or(cfg.MaxStreams, 4096)
	cfg.HandshakeTimeout = cmp.Or(cfg.HandshakeTimeout, 10*time.Second)
	cfg.Drain = cmp.Or(cfg.Drain, 5*time.Second)
	return &Server{
		cfg: cfg, log: cfg.Log,
		tls:   cfg.Identity.Server(cfg.Allowed, alpnMux, alpnRaw),
		conns: map[net.Conn]cluster.Machine{},
	}, nil
}

// Serve accepts connections from ln, which it closes, until ctx is done or
// accepting fails for good. It returns when all handlers have returned: nil if ctx
// was done. A server serves once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	handlers, cancel := context.WithCancel(ctx)
	err := s.accept(ctx, handlers, ln)
	_ = ln.Close()
	cancel()
	s.drain()
	return err
}

func (s *Server) accept(ctx, handlers context.Context, ln net.Listener) error {
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
			return fmt.Errorf("accept internal connection: %w", err)
		case err != nil:
			s.log.Error("accept internal connection", "err", err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause = min(2*pause, maxPause)
			continue
		}
		pause = firstPause
		if !s.admit(nc) {
			s.log.Warn("internal connection refused: too many", "remote", nc.RemoteAddr().String())
			_ = nc.Close()
			continue
		}
		go func() {
			defer s.leave(nc)
			s.serve(handlers, nc)
		}()
	}
}

func (s *Server) admit(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done || len(s.conns) >= s.cfg.MaxConns {
		s.refused++
		return false
	}
	s.accepted++
	s.conns[nc] = ""
	s.wg.Add(1)
	return true
}

func (s *Server) leave(nc net.Conn) {
	_ = nc.Close()
	s.mu.Lock()
	delete(s.conns, nc)
	s.mu.Unlock()
	s.wg.Done()
}

// Disconnect closes the connections of a machine, e.g. one that was struck from
// the membership: Allowed is asked only in handshakes.
func (s *Server) Disconnect(m cluster.Machine) {
	for nc, of := range s.all() {
		if of == m {
			_ = nc.Close()
		}
	}
}

func (s *Server) all() map[net.Conn]cluster.Machine {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[net.Conn]cluster.Machine, len(s.conns))
	for nc, m := range s.conns {
		all[nc] = m
	}
	return all
}

// drain waits for the handlers, then closes what is left.
func (s *Server) drain() {
	s.mu.Lock()
	s.done = true
	s.mu.Unlock()
	gone := make(chan struct{})
	go func() { s.wg.Wait(); close(gone) }()
	timer := time.NewTimer(s.cfg.Drain)
	defer timer.Stop()
	select {
	case <-gone:
		return
	case <-timer.C:
	}
	for nc := range s.all() {
		_ = nc.Close()
	}
	<-gone
}

func (s *Server) serve(ctx context.Context, nc net.Conn) {
	log := s.log.With("remote", nc.RemoteAddr().String())
	t := tls.Server(nc, s.tls)
	hctx, cancel := context.WithTimeout(ctx, s.cfg.HandshakeTimeout)
	err := t.HandshakeContext(hctx)
	cancel()
	if err != nil {
		log.Warn("internal connection refused", "err", err)
		return
	}
	cs := t.ConnectionState()
	peer, err := peerOf(s.cfg.Identity, cs)
	if err != nil {
		log.Warn("internal connection refused", "err", err)
		return
	}
	s.mu.Lock()
	s.conns[nc] = peer.Machine
	s.mu.Unlock()
	log = log.With("machine", string(peer.Machine))
	if cs.NegotiatedProtocol == alpnRaw {
		s.serveStream(ctx, log, t, peer, s.cfg.Raw, false)
		return
	}
	s.serveMux(ctx, log, t, peer)
}

func peerOf(id *pki.Identity, cs tls.ConnectionState) (Peer, error) {
	m, key, err := id.Peer(cs)
	return Peer{Machine: m, Key: key}, err
}

func (s *Server) serveMux(ctx context.Context, log *slog.Logger, nc net.Conn, peer Peer) {
	mux, err := muxServer(nc, log)
	if err != nil {
		log.Error("internal connection failed", "err", err)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	var streams sync.WaitGroup
	var open atomic.Int64
	for {
		st, err := mux.AcceptStreamWithContext(ctx)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, yamux.ErrSessionShutdown) {
				log.Info("internal connection ended", "err", err)
			}
			break
		}
		full := open.Add(1) > int64(s.cfg.MaxStreams)
		streams.Go(func() {
			defer open.Add(-1)
			s.serveStream(ctx, log, st, peer, s.cfg.Mux, full)
		})
	}
	cancel()
	streams.Wait()
	_ = mux.Close()
}

// serveStream reads a stream's header, answers it and runs the service.
func (s *Server) serveStream(ctx context.Context, log *slog.Logger, nc net.Conn, peer Peer, services map[string]Handler, full bool) {
	defer nc.Close()
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic in a stream handler", "err", p, "stack", string(debug.Stack()))
		}
	}()
	_ = nc.SetDeadline(time.Now().Add(s.cfg.HandshakeTimeout)) // fails only if nc is closed
	service, meta, err := readHeader(nc)
	status, reason := byte(statusOK), ""
	h := services[service]
	switch {
	case errors.Is(err, ErrProtocol):
		status, reason = statusNotRead, err.Error()
	case err != nil:
		log.Info("internal stream ended before its header", "err", err)
		return
	case full:
		status, reason = statusRefused, "too many streams"
	case ctx.Err() != nil:
		status, reason = statusRefused, "shutting down"
	case h == nil:
		status, reason = statusUnknown, "no such service on this kind of connection"
	}
	if status != statusOK {
		log.Warn("internal stream refused", "service", service, "err", reason)
	}
	if _, err := nc.Write(appendAnswer(nil, status, reason)); err != nil || status != statusOK {
		return
	}
	_ = nc.SetDeadline(time.Time{})
	h(ctx, &Stream{Conn: nc, Peer: peer, Service: service, Meta: meta})
}
