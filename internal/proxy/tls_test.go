package proxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/imapwire/imaptest"
	"github.com/tandemail/tandemail/internal/session"
)

// certificate makes one for "mail.test", and what trusts it.
func certificate(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.test"}, DNSNames: []string{"mail.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: roots, ServerName: "mail.test"}
}

func TestPasswordsNeedTLS(t *testing.T) {
	server, trust := certificate(t)
	r := newRig(t, func(c *Config) { c.PlaintextAuth, c.TLS = false, server })
	nc := r.conns.dialFrom(from("192.0.2.1:1"))
	t.Cleanup(func() { _ = nc.Close() })
	c := imaptest.NewClient(t, nc)
	expect(t, c, "* OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL- SASL-IR ID ENABLE IDLE STARTTLS LOGINDISABLED] Tandemail ready")
	for _, command := range []string{"LOGIN ann secret", "AUTHENTICATE PLAIN AGFubgBzZWNyZXQ="} {
		if _, got := c.Command("%s", command); got != "NO [PRIVACYREQUIRED] Passwords are accepted under TLS only" {
			t.Errorf("%s: %q", command, got)
		}
	}
	c.OK("STARTTLS")
	secure := tls.Client(nc, trust)
	c = imaptest.NewClient(t, secure)
	if got := c.OK("CAPABILITY"); got[0] != "* CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL- SASL-IR ID ENABLE IDLE AUTH=PLAIN AUTH=LOGIN" {
		t.Errorf("under TLS: %q", got)
	}
	if _, got := c.Command("STARTTLS"); got != "BAD TLS is already active" {
		t.Error(got)
	}
	c.OK("LOGIN ann secret")
	c.OK("SELECT INBOX")
}

func TestLoopbackMaySendPasswordsWithoutTLS(t *testing.T) {
	r := newRig(t, func(c *Config) { c.PlaintextAuth = false })
	c, _ := greeting(t, r, "127.0.0.1:1")
	c.OK("LOGIN ann secret")
}

func TestCommandsInjectedBeforeTLSAreThrownAway(t *testing.T) {
	server, trust := certificate(t)
	r := newRig(t, func(c *Config) { c.TLS = server })
	nc := r.conns.dial()
	t.Cleanup(func() { _ = nc.Close() })
	c := imaptest.NewClient(t, nc)
	c.Line()
	c.Send("a STARTTLS\r\nb LOGIN ann secret\r\n")
	expect(t, c, "a OK Begin TLS negotiation now")
	c = imaptest.NewClient(t, tls.Client(nc, trust))
	if _, got := c.Command("SELECT INBOX"); !strings.HasPrefix(got, "BAD Unknown command, or not logged in") {
		t.Errorf("injected command was obeyed: %q", got)
	}
}

func TestImplicitTLS(t *testing.T) {
	server, trust := certificate(t)
	r := newRig(t, func(c *Config) { c.PlaintextAuth, c.TLS = false, server })
	ln := newPipes()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- r.server.Serve(ctx, Listener{Listener: ln, Protocol: session.IMAP, TLS: true})
	}()
	c := imaptest.NewClient(t, tls.Client(ln.dial(), trust))
	if got := c.Line(); !strings.Contains(got, "AUTH=PLAIN") {
		t.Error(got)
	}
	c.OK("LOGIN ann secret")
	plain := ln.dial() // no TLS: the handshake fails, and nobody else is hurt
	go func() { _, _ = plain.Write([]byte("a LOGIN ann secret\r\n")) }()
	buf := make([]byte, 1)
	for {
		if _, err := plain.Read(buf); err != nil {
			break
		}
	}
	c.OK("NOOP")
	cancel()
	expect(t, c, "* BYE [UNAVAILABLE] Server is shutting down, connect again")
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestImplicitTLSNeedsACertificate(t *testing.T) {
	r := newRig(t, nil)
	err := r.server.Serve(t.Context(), Listener{Listener: newPipes(), Protocol: session.IMAP, TLS: true})
	if err == nil {
		t.Error("served without a certificate")
	}
	err = r.server.Serve(t.Context(), Listener{Listener: newPipes(), Protocol: session.POP3 + 1})
	if err == nil {
		t.Error("served a protocol that is not spoken")
	}
}
