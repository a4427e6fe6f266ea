package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/tandemail/tandemail/internal/accept"
	"github.com/tandemail/tandemail/internal/latency"
	"github.com/tandemail/tandemail/internal/session"
)

// Server serves clients. Use New.
type Server struct {
	cfg     Config
	limits  *limits
	counts  counters
	holds   *latency.Histogram // of waits for a master
	stores  *stores
	clients *accept.Server[*client]
}

// New builds a server.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Server{
		cfg: cfg, limits: newLimits(cfg.MaxPerUser), holds: latency.New(holdBounds...), stores: newStores(cfg.Routes),
		clients: accept.New[*client](accept.Config{
			What: "client", Log: cfg.Log, Max: cfg.MaxConns, PerAddress: cfg.MaxPerAddress, Exempt: cfg.Trusted, Drain: cfg.Drain,
		}),
	}, nil
}

// Serve accepts clients from ln, which it closes, until ctx is done or accepting
// fails for good. Then clients that wait for nothing get a BYE, commands under way
// have Config.Drain to end, and it returns when all clients have gone: nil if ctx
// was done. A server serves once; several listeners may be served at a time.
func (s *Server) Serve(ctx context.Context, ln Listener) error {
	if err := s.check(ln); err != nil {
		return errors.Join(err, ln.Close())
	}
	return s.clients.Serve(ctx, ln, accept.Handler[*client]{
		Begin:  func(nc net.Conn) *client { return newClient(s, nc, ln) },
		Refuse: func(why accept.Refusal) []byte { return s.refusal(ln, why) },
	})
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
	switch p {
	case session.IMAP:
		return newIMAP
	case session.POP3:
		return newPOP3
	}
	return nil
}

// refusal is counted, and told to clients who can read it: before implicit TLS
// there is no word that they would take for ours.
func (s *Server) refusal(ln Listener, why accept.Refusal) []byte {
	b := byeTooMany
	if why == accept.Stopping {
		b = byeShutdown
	}
	s.counts.byes[b].Add(1)
	if ln.TLS {
		return nil
	}
	return dialectOf(ln.Protocol)().bye(b)
}
