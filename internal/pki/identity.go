package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

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
