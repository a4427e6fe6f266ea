package etcd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/etcd"
)

// identity is a certificate for the name "tandemail", which no host has.
type identity struct {
	files etcd.Files
	tls   *tls.Config
}

func newIdentity(t *testing.T) identity {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "m1"}, NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"tandemail"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	must(err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	must(err)
	files := etcd.Files{
		CA: write("ca.pem", "CERTIFICATE", caDER), Cert: write("cert.pem", "CERTIFICATE", der),
		Key: write("key.pem", "EC PRIVATE KEY", keyDER), ServerName: "tandemail",
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	must(err)
	roots := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(caDER)
	must(err)
	roots.AddCert(parsed)
	return identity{files, &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: "tandemail", MinVersion: tls.VersionTLS13}}
}

// TestMembersAndClientsOfOneCAMeetByName: the certificates name no address, and
// who has none is not let in.
func TestMembersAndClientsOfOneCAMeetByName(t *testing.T) {
	t.Parallel()
	id, stranger := newIdentity(t), newIdentity(t)
	https := func() string { return strings.Replace(freeURL(t), "http:", "https:", 1) }
	peers := map[string]string{"m1": https(), "m2": https()}
	var members []running
	for name, peer := range peers {
		members = append(members, start(t, etcd.MemberConfig{
			Name: name, Dir: filepath.Join(t.TempDir(), name), ClientURL: https(), PeerURL: peer,
			InitialCluster: peers, TLS: &id.files, Quick: true, Unsafe: true,
		}))
	}
	for _, m := range members {
		<-m.Ready() // a quorum of two: they have met over TLS
	}
	dial := func(config *tls.Config, within time.Duration) error {
		c, err := etcd.Connect(etcd.Config{Endpoints: []string{members[0].ClientURL()}, TLS: config})
		if err != nil {
			return err
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		_, _, err = c.Get(ctx, "k")
		return err
	}
	if err := dial(id.tls, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	anonymous := id.tls.Clone()
	anonymous.Certificates = nil
	elsewhere := id.tls.Clone()
	elsewhere.ServerName = "elsewhere"
	suspicious := id.tls.Clone()
	suspicious.RootCAs = stranger.tls.RootCAs
	foreign := id.tls.Clone()
	foreign.Certificates = stranger.tls.Certificates
	var wg sync.WaitGroup
	for name, config := range map[string]*tls.Config{"no certificate": anonymous, "another CA's": foreign, "another name": elsewhere, "other roots": suspicious} {
		wg.Go(func() {
			if err := dial(config, time.Second); !errors.Is(err, coord.ErrUnavailable) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
}
