package proxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/auth"
	"github.com/tandemail/tandemail/internal/imapwire/imaptest"
	"github.com/tandemail/tandemail/internal/oidc"
	"github.com/tandemail/tandemail/internal/session"
)

// issuer has one good token.
type issuer struct{}

func (issuer) Owner(_ context.Context, token string) (string, error) {
	switch token {
	case "ann-token":
		return "ann", nil
	case "down":
		return "", errors.New("connection refused")
	}
	return "", oidc.ErrInvalid
}

func (issuer) Wanted() (scope, configuration string) {
	return "mail", "https://login.example.org/.well-known/openid-configuration"
}

// withAll offers every mechanism. Nonces are zeros.
func withAll(t *testing.T, ca *x509.CertPool) func(*Config) {
	a := newAuth(t, auth.Config{Tokens: issuer{}, Rand: zeros{}, ClientCAs: ca})
	a.SetSCRAM(&auth.SCRAMSetting{Iterations: proofs, Key: []byte("a key of the cluster's")})
	return func(c *Config) { c.Auth, c.MaxFailures = a, 10 }
}

func TestSASLDialogues(t *testing.T) {
	for pattern, protocol := range map[string]session.Protocol{"imap-*": session.IMAP, "pop3-*": session.POP3} {
		dialogues(t, "testdata/sasl/"+pattern+".txt", func(t *testing.T, file string) {
			r := newRig(t, withAll(t, nil))
			imaptest.Run(t, file, func(string) net.Conn { return r.dialTCP(protocol) })
			if strings.Contains(r.log.text(), "token-") || strings.Contains(r.log.text(), "-token") {
				t.Errorf("the log has a token: %s", r.log.text())
			}
		})
	}
}

func TestLogInsAreCountedByMechanism(t *testing.T) {
	r := newRig(t, withAll(t, nil))
	r.loggedIn()
	r.client().OK("AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=")
	r.client().Command("AUTHENTICATE PLAIN AGFubgB3cm9uZw==")
	r.client().OK("AUTHENTICATE OAUTHBEARER %s", b64("n,,\x01auth=Bearer ann-token\x01\x01"))
	got := r.server.Stats().Mechanisms
	if len(got) != mechanismKinds || got["PLAIN"] != 1 || got["password"] != 1 || got["OAUTHBEARER"] != 1 || got["XOAUTH2"] != 0 {
		t.Errorf("%v", got)
	}
}

// secured connects and begins TLS.
func (r *rig) secured(cfg *tls.Config) (*imaptest.Client, *tls.Conn) {
	r.t.Helper()
	nc := r.dialTCP(session.IMAP)
	c := imaptest.NewClient(r.t, nc)
	c.Line()
	c.OK("STARTTLS")
	secure := tls.Client(nc, cfg)
	if err := secure.HandshakeContext(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	c = imaptest.NewClient(r.t, secure)
	r.t.Cleanup(func() { _ = c.Close() })
	return c, secure
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// scram proves ann's password with a GS2 header and a channel binding, and returns the
// tagged line.
func scram(t *testing.T, c *imaptest.Client, mechanism, header, binding string) string {
	t.Helper()
	const bare = "n=ann,r=abcdefghij"
	c.Send("s AUTHENTICATE " + mechanism + " " + b64(header+bare) + "\r\n")
	line := c.Line()
	if strings.HasPrefix(line, "s ") {
		return line
	}
	server, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(line, "+ "))
	if err != nil {
		t.Fatal(err)
	}
	nonce, _, _ := strings.Cut(string(server), ",")
	salted, err := pbkdf2.Key(sha256.New, "secret", make([]byte, 16), proofs, 32)
	if err != nil {
		t.Fatal(err)
	}
	mac := func(key []byte, s string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(s))
		return m.Sum(nil)
	}
	final := "c=" + b64(header+binding) + "," + nonce
	said := bare + "," + string(server) + "," + final
	key := mac(salted, "Client Key")
	stored := sha256.Sum256(key)
	for i, b := range mac(stored[:], said) {
		key[i] ^= b
	}
	c.Send(b64(final+",p="+b64(string(key))) + "\r\n")
	if line = c.Line(); strings.HasPrefix(line, "s ") {
		return line
	}
	if want := "+ " + b64("v="+b64(string(mac(mac(salted, "Server Key"), said)))); line != want {
		t.Errorf("the server proves itself by %q, not %q", line, want)
	}
	c.Send("\r\n")
	return c.Line()
}

// TestProofsAreBoundToTheConnection, by what each version of TLS has for it.
func TestProofsAreBoundToTheConnection(t *testing.T) {
	server, trust := certificate(t)
	hash := sha256.Sum256(server.Certificates[0].Certificate[0]) // it is signed with ECDSA and SHA-256
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			all := withAll(t, nil)
			r := newRig(t, func(c *Config) { all(c); c.TLS, c.PlaintextAuth = server, false })
			cfg := trust.Clone()
			cfg.MinVersion, cfg.MaxVersion = version, version
			for _, c := range []struct{ mechanism, header, binding, want string }{
				{"SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", string(hash[:]), "s OK"},
				{"SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", strings.Repeat("x", 32), "s NO [AUTHENTICATIONFAILED]"},
				{"SCRAM-SHA-256-PLUS", "p=tls-exporter,,", "exporter", map[uint16]string{tls.VersionTLS12: "s BAD", tls.VersionTLS13: "s OK"}[version]},
				{"SCRAM-SHA-256-PLUS", "p=tls-unique,,", "x", "s BAD"},
				{"SCRAM-SHA-256-PLUS", "n,,", "", "s BAD"},
				{"SCRAM-SHA-256", "n,,", "", "s OK"},
				{"SCRAM-SHA-256", "y,,", "", "s NO [AUTHENTICATIONFAILED]"}, // somebody took the -PLUS out of our list
				{"SCRAM-SHA-256", "p=tls-server-end-point,,", string(hash[:]), "s BAD"},
			} {
				client, conn := r.secured(cfg)
				if got := client.OK("CAPABILITY"); !strings.Contains(got[0], " AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 ") {
					t.Error(got)
				}
				if state := conn.ConnectionState(); c.binding == "exporter" {
					b, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
					if err != nil {
						t.Fatal(err)
					}
					c.binding = string(b)
				}
				if got := scram(t, client, c.mechanism, c.header, c.binding); !strings.HasPrefix(got, c.want) {
					t.Errorf("%s %q: %q", c.mechanism, c.header, got)
				}
			}
		})
	}
}

// userCertificate is a CA of users, and a certificate of one.
func userCertificate(t *testing.T, address string) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	var keys [2]*ecdsa.PrivateKey
	var certs [2]*x509.Certificate
	for i, template := range []*x509.Certificate{
		{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign},
		{EmailAddresses: []string{address}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}},
	} {
		template.SerialNumber = big.NewInt(int64(i + 1))
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys[i], certs[i] = key, template
		der, err := x509.CreateCertificate(rand.Reader, template, certs[0], &key.PublicKey, keys[0])
		if err == nil {
			certs[i], err = x509.ParseCertificate(der)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AddCert(certs[0])
	return pool, tls.Certificate{Certificate: [][]byte{certs[1].Raw}, PrivateKey: keys[1]}
}

func TestCertificatesLetUsersIn(t *testing.T) {
	server, trust := certificate(t)
	ca, anns := userCertificate(t, "ann")
	_, strangers := userCertificate(t, "ann")
	server.ClientAuth, server.ClientCAs = tls.RequestClientCert, ca
	all := withAll(t, ca)
	r := newRig(t, func(c *Config) { all(c); c.TLS = server })
	with := func(cert *tls.Certificate) *imaptest.Client {
		cfg := trust.Clone()
		if cert != nil { // whatever CAs the server names
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		}
		c, _ := r.secured(cfg)
		return c
	}
	for name, cert := range map[string]*tls.Certificate{"none": nil, "another CA's": &strangers} {
		c := with(cert)
		if got := c.OK("CAPABILITY"); strings.Contains(got[0], "EXTERNAL") {
			t.Errorf("%s: %s", name, got)
		}
		if _, got := c.Command("AUTHENTICATE EXTERNAL ="); got != "NO [CANNOT] Mechanism is not supported" {
			t.Errorf("%s: %s", name, got)
		}
		c.OK("LOGIN ann secret")
	}
	c := with(&anns)
	if got := c.OK("CAPABILITY"); !strings.Contains(got[0], " AUTH=EXTERNAL AUTH=SCRAM") {
		t.Error(got)
	}
	if _, got := c.Command("AUTHENTICATE EXTERNAL %s", b64("bob")); got != "NO [AUTHENTICATIONFAILED] Token or certificate is not accepted" {
		t.Error(got)
	}
	c.Send("a AUTHENTICATE EXTERNAL\r\n")
	expect(t, c, "+ ")
	c.Send("\r\n")
	if got := c.Line(); !strings.HasPrefix(got, "a OK ") {
		t.Fatal(got)
	}
	c.OK("UNAUTHENTICATE") // the same TLS, and what goes with it
	c.OK("AUTHENTICATE EXTERNAL %s", b64("ann"))
	if n := r.server.Stats().Mechanisms["EXTERNAL"]; n != 2 {
		t.Errorf("counted %d", n)
	}
}

func TestNothingIsOfferedBeforeTLS(t *testing.T) {
	server, _ := certificate(t)
	all := withAll(t, nil)
	r := newRig(t, func(c *Config) { all(c); c.TLS, c.PlaintextAuth = server, false })
	for i, mechanism := range auth.AllMechanisms() {
		c, greeting := greeting(t, r, fmt.Sprintf("192.0.2.%d:1", i+1))
		if strings.Contains(greeting, "AUTH=") || !strings.Contains(greeting, "LOGINDISABLED") {
			t.Error(greeting)
		}
		if _, got := c.Command("AUTHENTICATE %s", mechanism); !strings.HasPrefix(got, "NO [PRIVACYREQUIRED]") {
			t.Errorf("%s: %s", mechanism, got)
		}
	}
}
