package pki

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Identity is a machine with its key, which does not change. What certifies the key,
// and which CAs the machine believes, are exchanged by Reload. It is safe for
// concurrent use.
type Identity struct {
	Machine cluster.Machine
	Key     KeyID

	dir    string
	papers atomic.Pointer[papers]
}

// papers are what a machine shows, and whom it believes.
type papers struct {
	cert   tls.Certificate
	issuer *x509.Certificate   // of cert; it is in trust
	trust  []*x509.Certificate // the CAs
}

// Authority is a CA that a machine believes.
type Authority struct {
	Key      KeyID
	NotAfter time.Time
}

// Load reads the machine's identity from dir. The error is os.ErrNotExist if it
// has none yet.
func Load(dir string) (*Identity, error) {
	id := &Identity{dir: dir}
	machine, key, p, err := id.read()
	if err != nil {
		return nil, err
	}
	id.Machine, id.Key = machine, key
	id.papers.Store(p)
	return id, nil
}

// Reload reads again what Load has read: handshakes from now on use it. After an
// error they use what they did. Connections stay.
func (id *Identity) Reload() error {
	machine, key, p, err := id.read()
	if err != nil {
		return err
	}
	if machine != id.Machine || key != id.Key {
		return fmt.Errorf("load identity from %s: it is machine %s with key %s now", filepath.Clean(id.dir), machine, key)
	}
	id.papers.Store(p)
	return nil
}

func (id *Identity) read() (cluster.Machine, KeyID, *papers, error) {
	fail := func(err error) (cluster.Machine, KeyID, *papers, error) { return "", KeyID{}, nil, err }
	key, err := readKey(id.dir, machineKeyFile)
	if err != nil {
		return fail(err)
	}
	cert, err := readCert(id.dir, machineCertFile)
	if err != nil {
		return fail(err)
	}
	trust, err := readBundle(id.dir)
	if err != nil {
		return fail(err)
	}
	p, machine, keyID, err := newPapers(key, cert, trust)
	if err != nil {
		return fail(fmt.Errorf("load identity from %s: %w", filepath.Clean(id.dir), err))
	}
	return machine, keyID, p, nil
}

// Install puts the signed certificate, and the certificates of the CAs to believe,
// beside the machine's key, after checking that all belong together. It replaces
// what was there.
func Install(dir string, certPEM, caPEM []byte) error {
	key, err := readKey(dir, machineKeyFile)
	if err != nil {
		return err
	}
	cert, err := parseCert(certPEM)
	if err != nil {
		return fmt.Errorf("install machine certificate: %w", err)
	}
	trust, err := parseBundle(caPEM)
	if err != nil {
		return fmt.Errorf("install CA certificate: %w", err)
	}
	if _, _, _, err := newPapers(key, cert, trust); err != nil {
		return fmt.Errorf("install machine certificate: %w", err)
	}
	if err := writeFile(dir, caCertFile, encodeBundle(trust)); err != nil {
		return err
	}
	return writeFile(dir, machineCertFile, encodePEM(pemCert, cert.Raw))
}

func newPapers(key *ecdsa.PrivateKey, cert *x509.Certificate, trust []*x509.Certificate) (*papers, cluster.Machine, KeyID, error) {
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, "", KeyID{}, errors.New("machine key and certificate do not belong together")
	}
	p := &papers{trust: trust, cert: tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}}
	machine, id, err := p.verify(cert)
	if err != nil {
		return nil, "", KeyID{}, err
	}
	p.issuer = issuerOf(cert, trust)
	return p, machine, id, nil
}

// issuerOf is the CA that signed cert, nil if none of them did.
func issuerOf(cert *x509.Certificate, cas []*x509.Certificate) *x509.Certificate {
	for _, ca := range cas {
		if cert.CheckSignatureFrom(ca) == nil {
			return ca
		}
	}
	return nil
}

// verify checks that a CA which is believed signed cert for a machine, and returns
// whose it is.
func (p *papers) verify(cert *x509.Certificate) (cluster.Machine, KeyID, error) {
	ca := issuerOf(cert, p.trust)
	if ca == nil {
		ca = p.trust[0] // whose refusal says why
	}
	return verify(cert, ca)
}

// verify checks that ca signed cert for a machine, and returns whose it is.
func verify(cert, ca *x509.Certificate) (cluster.Machine, KeyID, error) {
	if err := cert.CheckSignatureFrom(ca); err != nil {
		return "", KeyID{}, fmt.Errorf("certificate of %q is not from this cluster's CA: %w", cert.Subject.CommonName, err)
	}
	if cert.IsCA || cert.Subject.CommonName == "" || len(cert.UnhandledCriticalExtensions) > 0 {
		return "", KeyID{}, fmt.Errorf("certificate of %q is not a machine's", cert.Subject.CommonName)
	}
	id, err := keyID(cert.PublicKey)
	return cluster.Machine(cert.Subject.CommonName), id, err
}

func (id *Identity) certificate() *tls.Certificate { return &id.papers.Load().cert }

// RenewBy is when the certificate should have been renewed at the latest. That is a
// year after it was issued, and a date for people: nothing enforces it. The date in
// the certificate is the CA's, since the coordinator's library does enforce that one.
func (id *Identity) RenewBy() time.Time {
	return id.certificate().Leaf.NotBefore.Add(backdate + machineLife)
}

// Due reports whether the certificate should be renewed: half a year is over.
func (id *Identity) Due(now time.Time) bool {
	return id.RenewBy().Sub(now) < machineLife/2
}

// Issuer names the key of the CA that this machine's certificate is from.
func (id *Identity) Issuer() (KeyID, error) { return keyID(id.papers.Load().issuer.PublicKey) }

// Trust lists the CAs that this machine believes, and TrustPEM has their certificates.
func (id *Identity) Trust() ([]Authority, error) {
	var out []Authority
	for _, ca := range id.papers.Load().trust {
		key, err := keyID(ca.PublicKey)
		if err != nil {
			return nil, err
		}
		out = append(out, Authority{key, ca.NotAfter})
	}
	return out, nil
}

// TrustPEM has the certificates of the CAs that this machine believes.
func (id *Identity) TrustPEM() []byte { return encodeBundle(id.papers.Load().trust) }
