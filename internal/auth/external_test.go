package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/netip"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/auth"
)

// authority is a CA of users.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.issue(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue certifies; without a key of its own yet the authority signs itself.
func (a *authority) issue(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore = big.NewInt(1), time.Unix(1e9, 0).Add(-time.Hour)
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Unix(1e9, 0).Add(time.Hour)
	}
	if c.ExtKeyUsage == nil && !c.IsCA {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	parent, signer := a.cert, a.key
	if signer == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func TestCertificates(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	b := newBench(t)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	a, err := auth.New(auth.Config{Users: b.users, Hasher: b.hasher, ClientCAs: pool, Now: func() time.Time { return b.now }})
	if err != nil {
		t.Fatal(err)
	}
	mails := func(list ...string) *x509.Certificate {
		return &x509.Certificate{EmailAddresses: list, Subject: pkix.Name{CommonName: "bob"}}
	}
	named := func(cn string) *x509.Certificate { return &x509.Certificate{Subject: pkix.Name{CommonName: cn}} }
	expired, server := mails("anna"), mails("anna")
	expired.NotAfter = time.Unix(1e9, 0).Add(-time.Minute)
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, c := range []struct {
		name     string
		by       *authority
		cert     *x509.Certificate
		response string
		want     string // "": EXTERNAL is not offered
		err      error
	}{
		{"an address", ca, mails("anna"), "", "anna by ", nil},
		{"asked", ca, mails("anna"), "-", "asked", nil},
		{"as oneself", ca, mails("anna"), "anna", "anna by ", nil},
		{"as another", ca, mails("anna"), "bob", "refused", auth.ErrToken},
		{"a master user", ca, mails("admin"), "bob", "bob by admin", nil},
		{"the second address", ca, mails("x", "anna"), "", "anna by ", nil},
		{"two users, one chosen", ca, mails("anna", "bob"), "bob", "bob by ", nil},
		{"nobody's address, and a common name", ca, mails("nobody"), "", "refused", auth.ErrToken},
		{"a common name", ca, named("bob"), "", "bob by ", nil},
		{"nobody's common name", ca, named("Bob Builder"), "", "refused", auth.ErrToken},
		{"NUL", ca, mails("anna"), "an\x00na", "refused", auth.ErrSyntax},
		{"not UTF-8", ca, mails("anna"), "\xff", "refused", auth.ErrSyntax},
		{"another CA", stranger, mails("anna"), "", "", nil},
		{"expired", ca, expired, "", "", nil},
		{"a server's", ca, server, "", "", nil},
	} {
		cert, _ := c.by.issue(c.cert)
		p := a.Meet(netip.MustParseAddr("192.0.2.1"), &tls.ConnectionState{Version: tls.VersionTLS12, PeerCertificates: []*x509.Certificate{cert}}, nil)
		x, ok := a.Start("EXTERNAL", p)
		if ok != (c.want != "") || ok != (a.Mechanisms(p)[0] == "EXTERNAL") {
			t.Errorf("%s: offered: %v", c.name, ok)
		}
		if !ok || c.want == "" {
			continue
		}
		challenges, who, err := speak(t, x, c.response)
		got := "refused"
		switch {
		case who != nil:
			got = who.User + " by " + who.AuthorisedBy
		case challenges == "[]":
			got = "asked"
		}
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %s, %v", c.name, got, err)
		}
	}
}
