package pki

import (
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Issues reports whether the CA's key is in dir, so that LoadCA should succeed.
func Issues(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, caKeyFile))
	return err == nil
}

// KeyPEM is the CA's key: a secret, for a machine that shall issue too.
func (ca *CA) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		return nil, fmt.Errorf("encode CA key: %w", err)
	}
	return encodePEM(pemKey, der), nil
}

// InstallCA puts the CA's key into dir, where its certificate is: this machine can
// issue from then on.
func InstallCA(dir string, keyPEM []byte) error {
	cas, err := readBundle(dir)
	if err != nil {
		return err
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return fmt.Errorf("install CA key: %w", err)
	}
	if withKey(cas, key.Public()) == nil {
		return errors.New("install CA key: it does not belong to the CA's certificate")
	}
	return writeKey(dir, caKeyFile, key)
}

func parseKey(b []byte) (*ecdsa.PrivateKey, error) {
	der, err := decodePEM(b, pemKey)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%T is not an ECDSA key", key)
	}
	return ec, nil
}
