package lmtpd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/line"
)

// Config says what a server does. Backend, SpoolDir and Log are required; zero
// elsewhere means the value named.
type Config struct {
	Hostname string // for the greeting; "localhost"
	Backend  Backend
	Log      *slog.Logger
	TLS      *tls.Config // offers STARTTLS; nil: not offered
	// Trusted says whether a peer may use XFORWARD; nil: nobody.
	Trusted func(remote net.Addr) bool

	MaxMessage    int64 // octets; 100,000,000
	MaxRcpts      int   // of a transaction; 1,000
	MaxConns      int   // 512; more are answered 421
	MaxErrors     int   // bad commands of a connection; 20
	MaxJunk       int   // NOOP, RSET and the like without a message between them; 100
	MessageMemory int   // octets of a message kept in memory; 1 MiB
	SpoolDir      string
	SpoolFS       vfs.FS // the real file system
	SpoolLimit    int64  // octets in SpoolDir; 4 GiB

	IdleTimeout time.Duration // between commands; 5 minutes
	Drain       time.Duration // Serve waits so long for deliveries under way when it ends; 30 seconds
}

// Line limits: a command has at most 4,096 octets, and message data is read in
// pieces of up to 32 KiB.
const (
	maxCommand       = 4096
	readBuffer       = 32 << 10
	handshakeTimeout = 30 * time.Second
	refuseTimeout    = time.Second
	closeTimeout     = 5 * time.Second
)

func (c Config) withDefaults() Config {
	c.Hostname = cmp.Or(c.Hostname, "localhost")
	c.MaxMessage = cmp.Or(c.MaxMessage, 100_000_000)
	c.MaxRcpts = cmp.Or(c.MaxRcpts, 1000)
	c.MaxConns = cmp.Or(c.MaxConns, 512)
	c.MaxErrors = cmp.Or(c.MaxErrors, 20)
	c.MaxJunk = cmp.Or(c.MaxJunk, 100)
	c.MessageMemory = cmp.Or(c.MessageMemory, 1<<20)
	c.SpoolLimit = cmp.Or(c.SpoolLimit, 4<<30)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 5*time.Minute)
	c.Drain = cmp.Or(c.Drain, 30*time.Second)
	if c.SpoolFS == nil {
		c.SpoolFS = vfs.Default
	}
	return c
}

// Server serves LMTP connections.
type Server struct {
	cfg     Config
	log     *slog.Logger
	spool   *spool
	buffers buffers

	mu    sync.Mutex
	conns map[*conn]struct{}
	done  bool // no new connections
	wg    sync.WaitGroup

	accepted, refused int64 // so far; with mu
}

// New builds a server and empties its spool directory.
func New(cfg Config) (*Server, error) {
	if cfg.Backend == nil || cfg.Log == nil || cfg.SpoolDir == "" {
		return nil, errors.New("lmtp server: Backend, Log and SpoolDir are required")
	}
	cfg = cfg.withDefaults()
	sp, err := openSpool(cfg.SpoolFS, cfg.SpoolDir, cfg.SpoolLimit)
	if err != nil {
		return nil, err
	}
	return &Server{
		cfg: cfg, log: cfg.Log, spool: sp,
		buffers: buffers{max: 2*cfg.MessageMemory + firstBuffer},
		conns:   map[*conn]struct{}{},
	}, nil
}

// Serve accepts connections from ln, which it closes, until ctx is done or
// accepting fails for good. Then idle connections get 421, deliveries under way
// have Config.Drain to end, and it returns when all connections are gone: nil if
// ctx was done. A server serves once; several listeners may be served at a time.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	sessions, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	err := s.accept(ctx, sessions, ln)
	_ = ln.Close() // second time if ctx is done
	s.drain(cancel)
	return err
}

func (s *Server) accept(ctx, sessions context.Context, ln net.Listener) error {
	const firstPause, maxPause = 5 * time.Millisecond, time.Second
	pause := firstPause
	for {
		nc, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = nc.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept LMTP connection: %w", err)
		}
		if err != nil { // out of descriptors, or the peer was gone already
			s.log.Error("accept LMTP connection", "err", err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause = min(2*pause, maxPause)
			continue
		}
		pause = firstPause
		s.start(sessions, nc)
	}
}

func (s *Server) start(ctx context.Context, nc net.Conn) {
	c := &conn{srv: s, log: s.log.With("remote", nc.RemoteAddr().String()), lc: line.New(nc, line.Config{
		MaxLine: maxCommand, ReadBuffer: readBuffer, IdleTimeout: s.cfg.IdleTimeout, AutoFlush: true,
	})}
	if refusal := s.admit(c); refusal != "" {
		_ = nc.SetWriteDeadline(time.Now().Add(refuseTimeout))
		_, _ = nc.Write([]byte(refusal)) // fits an empty send buffer; the peer may be gone
		_ = nc.Close()
		return
	}
	go func() {
		defer s.leave(c)
		c.serve(ctx)
	}()
}

func (s *Server) admit(c *conn) (refusal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.done:
		s.refused++
		return "421 4.3.2 " + s.cfg.Hostname + " shutting down\r\n"
	case len(s.conns) >= s.cfg.MaxConns:
		s.refused++
		return "421 4.3.2 " + s.cfg.Hostname + " too many connections, try again later\r\n"
	}
	s.conns[c] = struct{}{}
	s.accepted++
	s.wg.Add(1)
	return ""
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.wg.Done()
}

// drain tells all connections to end and waits for them.
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
func (s *Server) stop() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}
