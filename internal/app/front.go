package app

import (
	"context"
	"crypto/rand"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/accept"
	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/deliver"
	"github.com/tandemail/tandemail/internal/lmtpd"
	"github.com/tandemail/tandemail/internal/metrics"
	"github.com/tandemail/tandemail/internal/router"
)

// serveFront runs what clients and MTAs talk to.
func (m *machine) serveFront(g *group) error {
	if !m.cfg.Has(config.RoleFront) {
		return nil
	}
	if m.cfg.Listen.LMTP != "" {
		if err := m.serveLMTP(g); err != nil {
			return err
		}
	}
	return m.serveClients(g)
}

// maxLMTP is how many connections MTAs may have; a quarter of them may be held
// waiting for a master, so that one store's switch does not stop all others' mail.
const maxLMTP = 512

func (m *machine) serveLMTP(g *group) error {
	hold, timed := make(holds, maxLMTP/4), metrics.NewDeliveries(time.Now)
	r := router.New(router.Config{
		Machine: m.name, Directory: m.users, Now: time.Now, Rand: rand.Reader, Log: m.log,
		Hold: m.cfg.Mail.HoldLMTP.Duration(),
		Deliver: &deliver.Client{
			Routes: m.routes, Call: m.callDeliver, Large: m.callLarge, Here: m.name, Local: m.handler, Hold: timed.Hold(hold.take),
		},
	})
	srv, err := lmtpd.New(lmtpd.Config{
		Hostname: m.cfg.Machine, Backend: timed.Backend(r), Log: m.log, Trusted: m.trusted(), MaxMessage: m.cfg.Mail.MaxSize,
		MaxConns: maxLMTP, SpoolDir: filepath.Join(m.cfg.Spool, "lmtp"),
	})
	if err != nil {
		return err
	}
	m.sources.Router, m.sources.LMTP, m.sources.Deliveries = r.Stats, srv.Stats, timed
	ln, err := listen(g.ctx, "LMTP", m.cfg.Listen.LMTP)
	if err != nil {
		return err
	}
	g.run("router", r.Run)
	g.run("LMTP", func(ctx context.Context) error { return srv.Serve(ctx, ln) })
	return nil
}

// trusted says which peers may use XFORWARD, and are not counted: loopback and the configured networks.
func (m *machine) trusted() func(netip.Addr) bool {
	var nets []netip.Prefix
	for _, s := range m.cfg.Mail.Trusted {
		nets = append(nets, netip.MustParsePrefix(s)) // checked with the configuration
	}
	return func(a netip.Addr) bool {
		return accept.Loopback(a) || slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(a) })
	}
}

// holds limits how many wait at a time.
type holds chan struct{}

// take gets a place; false when there is none.
func (h holds) take() (release func(), ok bool) {
	select {
	case h <- struct{}{}:
		return func() { <-h }, true
	default:
		return nil, false
	}
}
