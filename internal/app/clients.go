package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/proxy"
	"github.com/tandemail/tandemail/internal/route"
	"github.com/tandemail/tandemail/internal/session"
	"github.com/tandemail/tandemail/internal/spool"
)

// serveClients serves mail clients, each protocol by a server of its own, so that
// one's connections take nothing from another's.
func (m *machine) serveClients(g *group) error {
	l := m.cfg.Listen
	for _, p := range []struct {
		protocol        session.Protocol
		name            string
		plain, implicit string // addresses
	}{
		{session.IMAP, "imap", l.IMAP, l.IMAPS},
		{session.POP3, "pop3", l.POP3, l.POP3S},
	} {
		if p.plain == "" && p.implicit == "" {
			continue
		}
		cfg, err := m.clientConfig(g, p.name)
		if err != nil {
			return err
		}
		srv, err := proxy.New(cfg)
		if err != nil {
			return err
		}
		m.sources.Clients[p.name] = srv.Stats
		if err := serveOn(g, srv, p.name, p.plain, proxy.Listener{Protocol: p.protocol}); err != nil {
			return err
		}
		if err := serveOn(g, srv, p.name+"s", p.implicit, proxy.Listener{Protocol: p.protocol, TLS: true}); err != nil {
			return err
		}
	}
	return nil
}

// serveLocal serves the users whose master is here, for front ends other than ours.
func (m *machine) serveLocal(g *group) error {
	const name = "imap_local"
	if m.cfg.Listen.IMAPLocal == "" {
		return nil
	}
	cfg, err := m.clientConfig(g, name)
	if err != nil {
		return err
	}
	cfg.Only = m.name
	cfg.MaxPerAddress = cfg.MaxConns // a front end has one
	srv, err := proxy.New(cfg)
	if err != nil {
		return err
	}
	m.sources.Clients[name] = srv.Stats
	return serveOn(g, srv, name, m.cfg.Listen.IMAPLocal, proxy.Listener{Protocol: session.IMAP})
}

// serveOn serves ln's protocol on an address, if there is one.
func serveOn(g *group, srv *proxy.Server, name, address string, ln proxy.Listener) (err error) {
	if address == "" {
		return nil
	}
	if ln.Listener, err = listen(g.ctx, name, address); err != nil {
		return err
	}
	g.run(name, func(ctx context.Context) error { return srv.Serve(ctx, ln) })
	return nil
}

func (m *machine) clientConfig(g *group, name string) (proxy.Config, error) {
	dir, err := spool.Open(vfs.Default, filepath.Join(m.cfg.Spool, "clients", name), maxSpool)
	if err != nil {
		return proxy.Config{}, fmt.Errorf("prepare spool of clients: %w", err)
	}
	dial := func(ctx context.Context, r route.Route) (proxy.Backend, error) { return m.dialSession(g.ctx, ctx, r) }
	cfg := proxy.Config{
		Auth: m.auth, Routes: m.routes, Dial: dial, Spool: dir, Log: m.log,
		PlaintextAuth: m.cfg.Client.PlaintextAuth, MaxConns: m.cfg.Client.MaxConnections,
		MaxPerUser: m.cfg.Client.MaxSessionsPerUser,
		MaxMessage: m.cfg.Mail.MaxSize, Hold: m.cfg.Mail.HoldSessions.Duration(),
	}
	if m.cfg.Client.Certificate != "" {
		cert, err := tls.LoadX509KeyPair(m.cfg.Client.Certificate, m.cfg.Client.Key)
		if err != nil {
			return proxy.Config{}, fmt.Errorf("load the certificate for clients: %w", err)
		}
		cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
		if m.clientCAs != nil { // who shows none, or one of another CA, may come by other ways
			cfg.TLS.ClientAuth, cfg.TLS.ClientCAs = tls.RequestClientCert, m.clientCAs
		}
	}
	return cfg, nil
}
