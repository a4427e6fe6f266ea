package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// KeyID names a public key: SHA-256 of its SubjectPublicKeyInfo.
type KeyID [sha256.Size]byte

// String is 64 lower-case hexadecimal digits.
func (k KeyID) String() string { return hex.EncodeToString(k[:]) }

// MarshalText implements encoding.TextMarshaler.
func (k KeyID) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *KeyID) UnmarshalText(b []byte) error {
	if len(b) != 2*len(k) {
		return fmt.Errorf("key id %q: want %d hexadecimal digits", b, 2*len(k))
	}
	_, err := hex.Decode(k[:], b)
	return err
}

// KeyOf names the key of a machine's certificate.
func KeyOf(cert *x509.Certificate) (KeyID, error) { return keyID(cert.PublicKey) }

func keyID(pub any) (KeyID, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return KeyID{}, fmt.Errorf("encode public key: %w", err)
	}
	return sha256.Sum256(der), nil
}

// Identity is a machine with its key and certificate. It does not change.
type Identity struct {
	Machine  cluster.Machine
	Key      KeyID
	NotAfter time.Time // the certificate's date; not enforced on the internal port

	cert tls.Certificate
	ca   *x509.Certificate
}

// Due reports whether the certificate should be renewed: half its life is over.
func (id *Identity) Due(now time.Time) bool {
	from := id.cert.Leaf.NotBefore
	return now.Sub(from) > id.NotAfter.Sub(from)/2
}

// NewRequest returns a request for a certificate of the machine, for CA.Sign. The
// key is made in dir unless it is there already, so asking again is harmless.
func NewRequest(dir string, machine cluster.Machine) (requestPEM []byte, err error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	key, err := readKey(dir, machineKeyFile)
	if errors.Is(err, os.ErrNotExist) {
		key, err = createMachineKey(dir)
	}
	if err != nil {
		return nil, err
	}
	tmpl := &x509.CertificateRequest{Subject: pkix.Name{CommonName: string(machine)}}
	der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, key)
	if err != nil {
		return nil, fmt.Errorf("create certificate request for %s: %w", machine, err)
	}
	return encodePEM(pemRequest, der), nil
}

func createMachineKey(dir string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("create machine key: %w", err)
	}
	return key, writeKey(dir, machineKeyFile, key)
}

// Install puts the signed certificate and the CA's beside the machine's key, after
// checking that the three belong together. It replaces what was there.
func Install(dir string, certPEM, caPEM []byte) error {
	key, err := readKey(dir, machineKeyFile)
	if err != nil {
		return err
	}
	cert, err := parseCert(certPEM)
	if err != nil {
		return fmt.Errorf("install machine certificate: %w", err)
	}
	ca, err := parseCert(caPEM)
	if err != nil {
		return fmt.Errorf("install CA certificate: %w", err)
	}
	if _, err := newIdentity(key, cert, ca); err != nil {
		return fmt.Errorf("install machine certificate: %w", err)
	}
	if err := writeFile(dir, caCertFile, encodePEM(pemCert, ca.Raw)); err != nil {
		return err
	}
	return writeFile(dir, machineCertFile, encodePEM(pemCert, cert.Raw))
}

// Load reads the machine's identity from dir. The error is os.ErrNotExist if it
// has none yet.
func Load(dir string) (*Identity, error) {
	key, err := readKey(dir, machineKeyFile)
	if err != nil {
		return nil, err
	}
	cert, err := readCert(dir, machineCertFile)
	if err != nil {
		return nil, err
	}
	ca, err := readCert(dir, caCertFile)
	if err != nil {
		return nil, err
	}
	id, err := newIdentity(key, cert, ca)
	if err != nil {
		return nil, fmt.Errorf("load identity from %s: %w", filepath.Clean(dir), err)
	}
	return id, nil
}

func newIdentity(key *ecdsa.PrivateKey, cert, ca *x509.Certificate) (*Identity, error) {
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("machine key and certificate do not belong together")
	}
	machine, id, err := verify(cert, ca)
	if err != nil {
		return nil, err
	}
	return &Identity{
		Machine: machine, Key: id, NotAfter: cert.NotAfter,
		cert: tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert},
		ca:   ca,
	}, nil
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
