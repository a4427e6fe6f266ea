package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

const (
	caLife      = 30 * 365 * 24 * time.Hour
	machineLife = 365 * 24 * time.Hour // machines renew theirs: see Identity.RenewBy
	backdate    = 48 * time.Hour       // for tools that do look at the dates, on machines with other clocks
)

// CA issues the cluster's certificates.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	now  func() time.Time
}

// CreateCA makes a new authority for the cluster of that name in dir. It refuses
// to replace one. now dates what the CA issues.
func CreateCA(dir, clusterName string, now func() time.Time) (*CA, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	for _, name := range []string{caCertFile, caKeyFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("create CA: %s is there already", filepath.Join(dir, name))
		}
	}
	ca, err := drawCA(clusterName, now)
	if err != nil {
		return nil, err
	}
	if err := writeKey(dir, caKeyFile, ca.key); err != nil {
		return nil, err
	}
	if err := writeFile(dir, caCertFile, ca.CertPEM()); err != nil {
		return nil, err
	}
	return ca, nil
}

// drawCA makes a key and its certificate, and keeps neither.
func drawCA(clusterName string, now func() time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("create CA key: %w", err)
	}
	id, err := keyID(key.Public())
	if err != nil {
		return nil, err
	}
	tmpl := template("tandemail CA of "+clusterName, now(), serialOf(id))
	tmpl.NotAfter = now().Add(caLife)
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.MaxPathLenZero = true, true, true
	tmpl.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("create CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("create CA certificate: %w", err)
	}
	return &CA{cert: cert, key: key, now: now}, nil
}

// LoadCA reads the authority from dir: the one that ca.key belongs to.
func LoadCA(dir string, now func() time.Time) (*CA, error) {
	cas, err := readBundle(dir)
	if err != nil {
		return nil, err
	}
	key, err := readKey(dir, caKeyFile)
	if err != nil {
		return nil, err
	}
	cert := withKey(cas, key.Public())
	if cert == nil {
		return nil, fmt.Errorf("load CA from %s: key and certificate do not belong together", dir)
	}
	return &CA{cert: cert, key: key, now: now}, nil
}

// withKey is the certificate of that public key, nil if it is none of them.
func withKey(cas []*x509.Certificate, pub crypto.PublicKey) *x509.Certificate {
	for _, c := range cas {
		if key, ok := c.PublicKey.(*ecdsa.PublicKey); ok && key.Equal(pub) {
			return c
		}
	}
	return nil
}

// Key names the CA's key.
func (ca *CA) Key() (KeyID, error) { return keyID(ca.cert.PublicKey) }

// CertPEM is the CA's certificate, which every machine needs.
func (ca *CA) CertPEM() []byte { return encodePEM(pemCert, ca.cert.Raw) }

// Sign issues the certificate a machine asked for with NewRequest. Whether it
// should have one is the caller's decision; the returned KeyID is what goes into
// the membership.
func (ca *CA) Sign(requestPEM []byte) (certPEM []byte, machine cluster.Machine, id KeyID, err error) {
	fail := func(err error) ([]byte, cluster.Machine, KeyID, error) {
		return nil, "", KeyID{}, fmt.Errorf("sign certificate request: %w", err)
	}
	der, err := decodePEM(requestPEM, pemRequest)
	if err != nil {
		return fail(err)
	}
	req, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return fail(err)
	}
	if err := req.CheckSignature(); err != nil {
		return fail(err)
	}
	name := req.Subject.CommonName
	if name == "" {
		return fail(errors.New("it names no machine"))
	}
	if id, err = keyID(req.PublicKey); err != nil {
		return fail(err)
	}
	tmpl := template(name, ca.now(), serialOf(id))
	tmpl.NotAfter = ca.cert.NotAfter // see Identity.RenewBy
	tmpl.DNSNames = []string{HostName}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	cert, err := x509.CreateCertificate(rand.Reader, tmpl, ca.cert, req.PublicKey, ca.key)
	if err != nil {
		return fail(err)
	}
	return encodePEM(pemCert, cert), cluster.Machine(name), id, nil
}

func template(commonName string, now time.Time, serial *big.Int) *x509.Certificate {
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: commonName}, NotBefore: now.Add(-backdate)}
}

// serialOf is the serial number of every certificate of that key, so that a list of
// serial numbers is one of keys. Renewed certificates of one key share theirs.
func serialOf(id KeyID) *big.Int {
	n := new(big.Int).SetBytes(id[:16])
	return n.SetBit(n, 127, 0).SetBit(n, 126, 1) // positive, and of one length
}
