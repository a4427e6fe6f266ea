package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// StruckPath is the file that WriteStruck writes.
func StruckPath(dir string) string { return filepath.Join(dir, struckFile) }

// WriteStruck writes the keys that are no machine's any more as a list of revoked
// certificates, in the one form that the coordinator's library takes: by serial
// number, which stands for the key here. The library reads the file at each
// connection and does not ask who signed it; nobody did.
func WriteStruck(dir string, keys []KeyID, now time.Time) error {
	list := &x509.RevocationList{Number: big.NewInt(now.UnixNano()), ThisUpdate: now, NextUpdate: now.Add(caLife)}
	for _, k := range keys {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serialOf(k), RevocationTime: now})
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("list struck keys: %w", err)
	}
	nobody := &x509.Certificate{Subject: pkix.Name{CommonName: "nobody"}, KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{0}}
	der, err := x509.CreateRevocationList(rand.Reader, list, nobody, key)
	if err != nil {
		return fmt.Errorf("list struck keys: %w", err)
	}
	return writeFile(dir, struckFile, der)
}

// HasStruck reports whether there is a list that can be read.
func HasStruck(dir string) bool {
	b, err := os.ReadFile(StruckPath(dir))
	if err != nil {
		return false
	}
	_, err = x509.ParseRevocationList(b)
	return err == nil
}
