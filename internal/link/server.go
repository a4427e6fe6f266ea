package link

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/tandemail/tandemail/internal/accept"
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
	// Guest serves one who has no certificate yet, on a connection that it need not
	// close. Nil: nobody is let in without.
	Guest func(ctx context.Context, nc net.Conn)

	MaxConns         int           // 256; more are closed
	MaxPerAddress    int           // of one address that is not loopback; half of MaxConns; more are closed
	MaxStreams       int           // of a multiplexed connection; 4,096; more are refused
	HandshakeTimeout time.Duration // for TLS, and for a stream's header; 10 seconds
	Drain            time.Duration // for handlers when the server ends; 5 seconds
}

// Server accepts connections of the cluster's machines on the internal port.
type Server struct {
	cfg    ServerConfig
	log    *slog.Logger
	tls    *tls.Config
	conns  *accept.Server[*incoming]
	guests chan struct{} // places
}

// NewServer builds a server.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Identity == nil || cfg.Allowed == nil || cfg.Log == nil {
		return nil, errors.New("link server: Identity, Allowed and Log are required")
	}
	cfg.MaxConns = cmp.Or(cfg.MaxConns, 256)
	cfg.MaxPerAddress = cmp.Or(cfg.MaxPerAddress, max(1, cfg.MaxConns/2))
	cfg.MaxStreams = cmp.Or(cfg.MaxStreams, 4096)
	cfg.HandshakeTimeout = cmp.Or(cfg.HandshakeTimeout, 10*time.Second)
	cfg.Drain = cmp.Or(cfg.Drain, 5*time.Second)
	return &Server{
		cfg: cfg, log: cfg.Log, tls: serverTLS(cfg), guests: make(chan struct{}, maxGuests),
		conns: accept.New[*incoming](accept.Config{
			What: "internal connection", Log: cfg.Log, Max: cfg.MaxConns, PerAddress: cfg.MaxPerAddress, Drain: cfg.Drain,
		}),
	}, nil
}

// Serve accepts connections from ln, which it closes, until ctx is done or
// accepting fails for good. It returns when all handlers have returned: nil if ctx
// was done. A server serves once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	handlers, cancel := context.WithCancel(ctx)
	defer cancel()
	return s.conns.Serve(ctx, ln, accept.Handler[*incoming]{Begin: func(nc net.Conn) *incoming {
		return &incoming{Conn: nc, srv: s, handlers: handlers, cancel: cancel}
	}})
}

// incoming is an accepted connection.
type incoming struct {
	net.Conn
	srv      *Server
	handlers context.Context // of all connections: ends when the server does
	cancel   context.CancelFunc
	peer     atomic.Pointer[Peer] // nil before the handshake
}

// Serve implements accept.Conn.
func (c *incoming) Serve(context.Context) {
	defer c.Close()
	c.srv.serve(c.handlers, c)
}

// Interrupt implements accept.Conn.
func (c *incoming) Interrupt() { c.cancel() }

// Recheck asks Allowed again and closes the connections of machines that are no
// longer: it is asked in handshakes otherwise. Call it when the membership changes.
func (s *Server) Recheck() {
	for _, c := range s.conns.All() {
		p := c.peer.Load()
		if p == nil {
			continue
		}
		if err := s.cfg.Allowed(p.Machine, p.Key); err != nil {
			s.log.Warn("internal connection ended", "machine", string(p.Machine), "remote", c.RemoteAddr().String(), "err", err)
			_ = c.Close()
		}
	}
}

func (s *Server) serve(ctx context.Context, nc *incoming) {
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
	if cs.NegotiatedProtocol == alpnGuest {
		s.serveGuest(ctx, log, t)
		return
	}
	peer, err := peerOf(s.cfg.Identity, cs)
	if err != nil {
		log.Warn("internal connection refused", "err", err)
		return
	}
	nc.peer.Store(&peer)
	if err := s.cfg.Allowed(peer.Machine, peer.Key); err != nil { // a Recheck during the handshake missed it
		log.Warn("internal connection refused", "machine", string(peer.Machine), "err", err)
		return
	}
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
