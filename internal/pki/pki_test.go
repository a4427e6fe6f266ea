package pki

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// long ago: certificates of this clock have expired by their dates.
func fixedClock() time.Time { return time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC) }

func newCA(t *testing.T) *CA {
	t.Helper()
	ca, err := CreateCA(t.TempDir(), "test", fixedClock)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func newMachine(t *testing.T, ca *CA, name cluster.Machine) *Identity {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pki")
	req, err := NewRequest(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	cert, signedFor, key, err := ca.Sign(req)
	if err != nil || signedFor != name {
		t.Fatalf("signed for %q, %v", signedFor, err)
	}
	if err := Install(dir, cert, ca.CertPEM()); err != nil {
		t.Fatal(err)
	}
	id, err := Load(dir)
	if err != nil || id.Machine != name || id.Key != key {
		t.Fatalf("loaded %+v, %v", id, err)
	}
	return id
}

func anyone(cluster.Machine, KeyID) error { return nil }

// shake does a handshake and returns both ends' errors. The client also reads,
// since in TLS 1.3 it learns of a refusal only then.
func shake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // a pipe has no buffer: alerts would block
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	b, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	a, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	deadline := time.Now().Add(10 * time.Second)
	_ = a.SetDeadline(deadline)
	_ = b.SetDeadline(deadline)
	done := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte{1})
		}
		_ = a.Close()
		done <- err
	}()
	c := tls.Client(b, client)
	clientErr = c.Handshake()
	if clientErr == nil {
		_, clientErr = c.Read(make([]byte, 1))
	}
	_ = b.Close()
	return <-done, clientErr
}

func TestMachinesOfOneClusterTrustEachOtherWhateverTheDate(t *testing.T) {
	ca := newCA(t)
	m1, m2 := newMachine(t, ca, "m1"), newMachine(t, ca, "m2")
	if !m1.RenewBy().Before(time.Now()) || !m1.certificate().Leaf.NotAfter.Before(time.Now()) {
		t.Fatal("the test needs an expired certificate")
	}
	var saw cluster.Machine
	var key KeyID
	s, c := shake(t, m1.Server(func(m cluster.Machine, k KeyID) error { saw, key = m, k; return nil }, "p"), m2.Client("m1", anyone, "p"))
	if s != nil || c != nil || saw != "m2" || key != m2.Key {
		t.Fatalf("server %v, client %v, saw %s", s, c, saw)
	}
}

func TestHandshakeRefusesStrangers(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	m1, m2, m3 := newMachine(t, ca, "m1"), newMachine(t, ca, "m2"), newMachine(t, ca, "m3")
	stranger := newMachine(t, other, "m2")
	struck := errors.New("key was struck from the membership")
	noCert := m2.Client("m1", anyone, "p")
	noCert.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return new(tls.Certificate), nil }
	old := m2.Client("m1", anyone, "p")
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	tests := []struct {
		name           string
		server, client *tls.Config
		atServer       string // in the server's error; or
		atClient       string // in the client's
	}{
		{"client of another CA", m1.Server(anyone, "p"), stranger.Client("m1", func(cluster.Machine, KeyID) error { return nil }, "p"), "", "not from this cluster's CA"},
		{"client of another CA that trusts anybody", m1.Server(anyone, "p"), trusting(stranger), "not from this cluster's CA", ""},
		{"client struck from the membership", m1.Server(func(cluster.Machine, KeyID) error { return struck }, "p"), m2.Client("m1", anyone, "p"), "struck", ""},
		{"server struck from the membership", m1.Server(anyone, "p"), m2.Client("m1", func(cluster.Machine, KeyID) error { return struck }, "p"), "", "struck"},
		{"another machine answers", m3.Server(anyone, "p"), m2.Client("m1", anyone, "p"), "", "called machine m1, but m3 answered"},
		{"no client certificate", m1.Server(anyone, "p"), noCert, "certificate", ""},
		{"no common protocol", m1.Server(anyone, "p"), m2.Client("m1", anyone, "q"), "application protocol", ""},
		{"no protocol offered", m1.Server(anyone, "p"), m2.Client("m1", anyone), "offers none", ""},
		{"TLS 1.2", m1.Server(anyone, "p"), old, "unsupported versions", ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s, c := shake(t, tc.server, tc.client)
			if s == nil || c == nil {
				t.Fatalf("accepted: server %v, client %v", s, c)
			}
			if !strings.Contains(s.Error(), tc.atServer) || !strings.Contains(c.Error(), tc.atClient) {
				t.Fatalf("server %v\nclient %v", s, c)
			}
		})
	}
}

func trusting(id *Identity) *tls.Config {
	cfg := id.Client("m1", anyone, "p")
	cfg.VerifyConnection = nil
	return cfg
}

func TestCAIsNoMachineAndCannotBeReplaced(t *testing.T) {
	dir := t.TempDir()
	ca, err := CreateCA(dir, "test", fixedClock)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CreateCA(dir, "test", fixedClock); err == nil {
		t.Fatal("replaced a CA")
	}
	if _, err := LoadCA(dir, fixedClock); err != nil {
		t.Fatal(err)
	}
	if _, _, err := verify(ca.cert, ca.cert); err == nil {
		t.Fatal("the CA's certificate passes for a machine's")
	}
}

func TestKeysAreForTheirOwnerOnly(t *testing.T) {
	ca := newCA(t)
	dir := filepath.Join(t.TempDir(), "pki")
	req, err := NewRequest(dir, "m1")
	if err != nil {
		t.Fatal(err)
	}
	again, err := NewRequest(dir, "m1")
	if err != nil {
		t.Fatal(err)
	}
	_, _, k1, _ := ca.Sign(req)
	if _, _, k2, err := ca.Sign(again); err != nil || k1 != k2 {
		t.Fatalf("asking again made another key: %v", err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, machineKeyFile): 0o600} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
			t.Fatalf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, machineKeyFile), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := NewRequest(dir, "m1"); err == nil || !strings.Contains(err.Error(), "0644") {
		t.Fatalf("took a key everybody can read: %v", err)
	}
}

func TestInstallRefusesWhatDoesNotBelongTogether(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	dir := filepath.Join(t.TempDir(), "pki")
	req, err := NewRequest(dir, "m1")
	if err != nil {
		t.Fatal(err)
	}
	cert, _, _, err := ca.Sign(req)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := NewRequest(filepath.Join(t.TempDir(), "x"), "m1")
	if err != nil {
		t.Fatal(err)
	}
	foreignCert, _, _, err := ca.Sign(foreign)
	if err != nil {
		t.Fatal(err)
	}
	if Install(dir, cert, other.CertPEM()) == nil || Install(dir, foreignCert, ca.CertPEM()) == nil || Install(dir, []byte("x"), ca.CertPEM()) == nil {
		t.Fatal("installed")
	}
	if _, err := Load(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a refused certificate left something: %v", err)
	}
}

func TestKeyIDIsTextAndBack(t *testing.T) {
	id := newMachine(t, newCA(t), "m1").Key
	text, _ := id.MarshalText()
	var back KeyID
	if err := back.UnmarshalText(text); err != nil || back != id {
		t.Fatalf("%v, %v", back, err)
	}
	if back.UnmarshalText(text[1:]) == nil || back.UnmarshalText([]byte(strings.Repeat("x", 64))) == nil {
		t.Fatal("took a bad key id")
	}
}
