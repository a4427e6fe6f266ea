package pki

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const (
	caCertFile      = "ca.crt"
	caKeyFile       = "ca.key"
	nextKeyFile     = "next.key"
	machineCertFile = "machine.crt"
	machineKeyFile  = "machine.key"
	struckFile      = "struck.crl"

	pemCert    = "CERTIFICATE"
	pemKey     = "PRIVATE KEY"
	pemRequest = "CERTIFICATE REQUEST"
)

// HostName is in the certificate of every machine, for a library that must have a
// host name to check: machines are known by their keys, wherever they are.
const HostName = "tandemail"

// Paths names the files of the identity in dir, for a library that reads them
// itself: again for every connection, so that it meets a renewed certificate.
func Paths(dir string) (cert, key, ca string) {
	return filepath.Join(dir, machineCertFile), filepath.Join(dir, machineKeyFile), filepath.Join(dir, caCertFile)
}

// writeFile replaces dir/name at once: after a crash there is the old content or
// the new one. Only the owner may read it.
func writeFile(dir, name string, content []byte) (err error) {
	f, err := os.CreateTemp(dir, "."+name+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", filepath.Join(dir, name), err)
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create key directory: %w", err)
	}
	return nil
}

// decodePEM returns the one block of the given type in b.
func decodePEM(b []byte, kind string) ([]byte, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != kind || len(rest) > 0 {
		return nil, fmt.Errorf("not one PEM block %q", kind)
	}
	return block.Bytes, nil
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func parseCert(pemBytes []byte) (*x509.Certificate, error) {
	der, err := decodePEM(pemBytes, pemCert)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// maxBundle is how many CAs are believed at a time.
const maxBundle = 2

// parseBundle reads one or more certificates of CAs, each of which has its own key.
func parseBundle(b []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for len(b) > 0 {
		block, rest := pem.Decode(b)
		if block == nil || block.Type != pemCert || len(out) == maxBundle {
			return nil, fmt.Errorf("not 1 to %d PEM blocks %q", maxBundle, pemCert)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out, b = append(out, c), rest
	}
	if len(out) == 0 {
		return nil, errors.New("it is empty")
	}
	return out, nil
}

func encodeBundle(cas []*x509.Certificate) []byte {
	var out []byte
	for _, c := range cas {
		out = append(out, encodePEM(pemCert, c.Raw)...)
	}
	return out
}

func readBundle(dir string) ([]*x509.Certificate, error) {
	path := filepath.Join(dir, caCertFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read CA certificates: %w", err)
	}
	cas, err := parseBundle(b)
	if err != nil {
		return nil, fmt.Errorf("read CA certificates %s: %w", path, err)
	}
	return cas, nil
}

func readCert(dir, name string) (*x509.Certificate, error) {
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	c, err := parseCert(b)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s: %w", path, err)
	}
	return c, nil
}

// readKey refuses a key that others than its owner may read.
func readKey(dir, name string) (*ecdsa.PrivateKey, error) {
	path := filepath.Join(dir, name)
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read key %s: mode is %04o, must be 0600", path, st.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	key, err := parseKey(b)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	return key, nil
}

func writeKey(dir, name string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	return writeFile(dir, name, encodePEM(pemKey, der))
}
