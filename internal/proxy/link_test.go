package proxy

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/host"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/pki"
	"github.com/tandemail/tandemail/internal/route"
)

// TestSessionsOverTheInternalPort: the same over mutual TLS and multiplexed streams.
func TestSessionsOverTheInternalPort(t *testing.T) {
	ca, err := pki.CreateCA(t.TempDir(), "test", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	allowed := func(cluster.Machine, pki.KeyID) error { return nil }
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pool := link.NewPool(&link.Dialer{
		Identity: identity(t, ca, "f1"), Allowed: allowed, Log: log,
		Address: func(cluster.Machine) (string, error) { return ln.Addr().String(), nil },
	})
	front := newRig(t, func(c *Config) {
		c.Dial = func(ctx context.Context, r route.Route) (Backend, error) {
			st, err := pool.Open(ctx, r.Master, host.Service, []byte(r.Store))
			if err != nil {
				return nil, err
			}
			return link.NewFrames(st, host.Frames()), nil
		}
	})
	server, err := link.NewServer(link.ServerConfig{
		Identity: identity(t, ca, "m1"), Allowed: allowed, Log: log,
		Mux: map[string]link.Handler{host.Service: front.machines["m1"].host.Handle},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, ln) }()
	t.Cleanup(func() {
		front.stop()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		_ = pool.Close()
	})
	c, other := front.loggedIn(), front.loggedIn()
	c.OK("SELECT INBOX")
	c.Send("a IDLE\r\n")
	expect(t, c, "+ idling")
	other.OK("APPEND INBOX {14+}\r\nSubject: one\r\n")
	expect(t, c, "* 1 EXISTS", "* 1 RECENT")
	c.Send("DONE\r\n")
	expect(t, c, "a OK IDLE completed")
	c.OK("FETCH 1 BODY[]")
	c.OK("LOGOUT")
}

func identity(t *testing.T, ca *pki.CA, m cluster.Machine) *pki.Identity {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pki")
	req, err := pki.NewRequest(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	cert, _, _, err := ca.Sign(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := pki.Install(dir, cert, ca.CertPEM()); err != nil {
		t.Fatal(err)
	}
	id, err := pki.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
