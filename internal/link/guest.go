package link

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/pki"
)

const (
	// maxGuests bounds those without a certificate; more are closed.
	maxGuests = 8
	// guestTime bounds a guest's whole conversation.
	guestTime = 20 * time.Second
)

// serverTLS asks every client for its certificate, but one that offers nothing than
// to be a guest.
func serverTLS(cfg ServerConfig) *tls.Config {
	out := cfg.Identity.Server(cfg.Allowed, alpnMux, alpnRaw)
	if cfg.Guest == nil {
		return out
	}
	guest := cfg.Identity.GuestServer(alpnGuest)
	out.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Equal(hello.SupportedProtos, guest.NextProtos) {
			return guest, nil
		}
		return nil, nil // the configuration it is part of
	}
	return out
}

func (s *Server) serveGuest(ctx context.Context, log *slog.Logger, nc net.Conn) {
	select {
	case s.guests <- struct{}{}:
		defer func() { <-s.guests }()
	default:
		log.Warn("internal connection refused", "err", "too many guests")
		return
	}
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic in a guest's handler", "err", p, "stack", string(debug.Stack()))
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, guestTime)
	defer cancel()
	_ = nc.SetDeadline(time.Now().Add(guestTime)) // fails only if nc is closed
	s.cfg.Guest(ctx, nc)
}

// Guest connects to the internal port at address as one who has no certificate. The
// other end has proven that the CA of that key certified it.
func Guest(ctx context.Context, address string, authority pki.KeyID) (net.Conn, error) {
	nc, err := dialTCP(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	t := tls.Client(nc, pki.GuestClient(authority, alpnGuest))
	if err := t.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	return t, nil
}
