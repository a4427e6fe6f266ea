package accept

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// Conn is a connection that was accepted.
type Conn interface {
	comparable
	// Serve runs the connection and closes it. ctx ends when Config.Drain is over.
	Serve(ctx context.Context)
	// Interrupt asks the connection to end once nothing is under way. It does not block.
	Interrupt()
	// Close ends it at once, whatever is under way.
	Close() error
}

// Config bounds a Server. Max and Log are required; zero elsewhere means the value named.
type Config struct {
	What string // is accepted, for errors and the log; "connection"
	Log  *slog.Logger

	Max        int                   // connections at a time
	PerAddress int                   // of them from one address; Max
	Exempt     func(netip.Addr) bool // addresses for which PerAddress does not hold; Loopback
	Drain      time.Duration         // for connections when Serve ends; 5 seconds
}

// Handler is what a listener's protocol does with what comes in.
type Handler[C Conn] struct {
	// Begin makes a connection of nc. It neither blocks nor starts anything: what it
	// made is thrown away if there are too many.
	Begin func(nc net.Conn) C
	// Refuse is called once for a connection that is not taken and gives the octets
	// that it is sent, at most a few hundred. Without any it is only closed; so it is if
	// Refuse is nil.
	Refuse func(Refusal) []byte
}

func (h Handler[C]) words(why Refusal) []byte {
	if h.Refuse == nil {
		return nil
	}
	return h.Refuse(why)
}

// Server accepts connections. Use New.
type Server[C Conn] struct {
	cfg     Config
	present *present[C]
	refused refusals

	accepted, turned atomic.Int64 // connections so far, taken and not
}

// New builds a server.
func New[C Conn](cfg Config) *Server[C] {
	cfg.What = cmp.Or(cfg.What, "connection")
	cfg.PerAddress = cmp.Or(cfg.PerAddress, cfg.Max)
	cfg.Drain = cmp.Or(cfg.Drain, 5*time.Second)
	if cfg.Exempt == nil {
		cfg.Exempt = Loopback
	}
	return &Server[C]{cfg: cfg, present: newPresent[C](cfg.Max, cfg.PerAddress)}
}

// Len is how many connections there are.
func (s *Server[C]) Len() int { return s.present.len() }

// All returns the connections there are.
func (s *Server[C]) All() []C { return s.present.all() }

// Stopping reports whether connections have been asked to end.
func (s *Server[C]) Stopping() bool { return s.present.stopping() }

// Serve accepts connections from ln, which it closes, until ctx is done or the
// listener is closed by somebody else. It returns when all connections are gone:
// nil if ctx was done. A server serves once.
func (s *Server[C]) Serve(ctx context.Context, ln net.Listener, h Handler[C]) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	err := s.accept(ctx, serving, ln, h)
	_ = ln.Close() // second time if ctx is done
	s.drain(cancel)
	return err
}

func (s *Server[C]) accept(ctx, serving context.Context, ln net.Listener, h Handler[C]) error {
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
			return fmt.Errorf("accept %s: %w", s.cfg.What, err)
		case err != nil:
			s.cfg.Log.Error("accept failed", "service", s.cfg.What, "err", err)
			wait(ctx, pause)
			pause = min(2*pause, maxPause)
			continue
		}
		pause = firstPause
		s.start(serving, nc, h)
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (s *Server[C]) start(serving context.Context, nc net.Conn, h Handler[C]) {
	c, a := h.Begin(nc), s.counted(nc)
	if why := s.present.enter(c, a); why != admitted {
		s.turned.Add(1)
		s.refuse(nc, h, why)
		return
	}
	s.accepted.Add(1)
	go func() {
		defer s.present.leave(c, a)
		c.Serve(serving)
	}()
}

// counted is the subscriber that nc is counted for; the zero value for nobody.
func (s *Server[C]) counted(nc net.Conn) netip.Prefix {
	if a := Address(nc); a.IsValid() && !s.cfg.Exempt(a) {
		return subscriber(a)
	}
	return netip.Prefix{}
}

// refuseTimeout is for a peer whose system has no room for the refusal: an empty
// send buffer has.
const refuseTimeout = time.Second

func (s *Server[C]) refuse(nc net.Conn, h Handler[C], why Refusal) {
	if n := s.refused.count(time.Now()); n > 0 {
		s.cfg.Log.Warn("connections refused", "service", s.cfg.What, "reason", why.String(), "remote", remote(nc), "count", n)
	}
	if words := h.words(why); len(words) > 0 {
		_ = nc.SetWriteDeadline(time.Now().Add(refuseTimeout))
		_, _ = nc.Write(words) // the peer may be gone
	}
	_ = nc.Close()
}

func remote(nc net.Conn) string {
	if a := nc.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}

// drain asks all connections to end and waits for them.
func (s *Server[C]) drain(cancel context.CancelFunc) {
	s.present.stop()
	for _, c := range s.All() {
		c.Interrupt()
	}
	gone := make(chan struct{})
	go func() { s.present.wg.Wait(); close(gone) }()
	timer := time.NewTimer(s.cfg.Drain)
	defer timer.Stop()
	select {
	case <-gone:
		return
	case <-timer.C:
	}
	cancel()
	for _, c := range s.All() {
		_ = c.Close()
	}
	<-gone
}
