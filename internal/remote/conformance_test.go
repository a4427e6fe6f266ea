package remote

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/mail/mailtest"
	"github.com/tandemail/tandemail/internal/pki"
	"github.com/tandemail/tandemail/internal/route"
)

// overLink has the rig's accounts reach its server over mutual TLS on loopback.
func (r *rig) overLink() {
	t := r.t
	t.Helper()
	ca, err := pki.CreateCA(t.TempDir(), "test", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	allowed := func(cluster.Machine, pki.KeyID) error { return nil }
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, err := link.NewServer(link.ServerConfig{
		Identity: identity(t, ca, "m1"), Allowed: allowed, Log: quiet, Mux: map[string]link.Handler{Service: r.server.Handle},
	})
	if err != nil {
		t.Fatal(err)
	}
	pool := link.NewPool(&link.Dialer{
		Identity: identity(t, ca, "m2"), Allowed: allowed, Log: quiet,
		Address: func(cluster.Machine) (string, error) { return ln.Addr().String(), nil },
	})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, ln) }()
	r.reach(Config{Routes: r.routes, Dial: func(ctx context.Context, to route.Route, meta []byte) (net.Conn, error) {
		return pool.Open(ctx, to.Master, Service, meta)
	}})
	accounts := r.accounts
	t.Cleanup(func() {
		_ = accounts.Close()
		_ = pool.Close()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func identity(t testing.TB, ca *pki.CA, m cluster.Machine) *pki.Identity {
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

func TestRemoteAccountHoldsTheContractOfAccounts(t *testing.T) {
	r := newRig(t)
	mailtest.Run(t, func(*testing.T) mail.Account { return r.account() })
}

func TestRemoteAccountHoldsTheContractOverTheInternalPort(t *testing.T) {
	r := newRig(t)
	r.overLink()
	mailtest.Run(t, func(*testing.T) mail.Account { return r.account() })
}
