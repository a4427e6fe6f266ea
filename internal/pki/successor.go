package pki

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Successor is a CA that takes another's place, with the other's word for it: who
// can write it down somewhere cannot put a CA of his own there.
type Successor struct {
	Certificate string `json:"certificate"` // in PEM
	// Proof is the old CA's signature.
	Proof []byte `json:"proof"`
}

// What a CA's key signs besides certificates; none can be taken for another.
const (
	vouchSuccessor = "tandemail: this CA takes my place"
	vouchMachine   = "tandemail: this machine issues, too"
)

// vouch signs data for one purpose.
func (ca *CA) vouch(purpose string, data []byte) ([]byte, error) {
	sum := sha256.Sum256(append([]byte(purpose+"\x00"), data...))
	sig, err := ecdsa.SignASN1(rand.Reader, ca.key, sum[:])
	if err != nil {
		return nil, fmt.Errorf("sign with the CA's key: %w", err)
	}
	return sig, nil
}

func vouched(ca *x509.Certificate, purpose string, data, sig []byte) bool {
	sum := sha256.Sum256(append([]byte(purpose+"\x00"), data...))
	key, ok := ca.PublicKey.(*ecdsa.PublicKey)
	return ok && ecdsa.VerifyASN1(key, sum[:], sig)
}

// CreateSuccessor makes a new CA and keeps its key in dir beside ca's own. An earlier
// one that came to nothing is forgotten.
func (ca *CA) CreateSuccessor(dir, clusterName string) (Successor, error) {
	next, err := drawCA(clusterName, ca.now)
	if err != nil {
		return Successor{}, err
	}
	proof, err := ca.vouch(vouchSuccessor, next.cert.Raw)
	if err != nil {
		return Successor{}, err
	}
	return Successor{string(next.CertPEM()), proof}, writeKey(dir, nextKeyFile, next.key)
}

func (s Successor) parse() (*x509.Certificate, error) {
	cert, err := parseCert([]byte(s.Certificate))
	if err != nil {
		return nil, fmt.Errorf("certificate of the new CA: %w", err)
	}
	return cert, nil
}

// Authority is the CA itself.
func (s Successor) Authority() (Authority, error) {
	cert, err := s.parse()
	if err != nil {
		return Authority{}, err
	}
	key, err := keyID(cert.PublicKey)
	return Authority{key, cert.NotAfter}, err
}

// Believe adds the new CA to those that the machine of dir believes, if one of them
// has vouched for it. Only the two are believed then.
func (s Successor) Believe(dir string) error {
	next, err := s.parse()
	if err != nil {
		return err
	}
	cas, err := readBundle(dir)
	if err != nil {
		return err
	}
	if withKey(cas, next.PublicKey) != nil {
		return nil
	}
	for _, ca := range cas {
		if vouched(ca, vouchSuccessor, next.Raw, s.Proof) {
			return writeFile(dir, caCertFile, encodeBundle([]*x509.Certificate{ca, next}))
		}
	}
	return errors.New("no CA that this machine believes has vouched for the new one")
}

// nextKey is the new CA's key as far as dir has it; nil without.
func (s Successor) nextKey(dir, file string) (*ecdsa.PrivateKey, error) {
	next, err := s.parse()
	if err != nil {
		return nil, err
	}
	key, err := readKey(dir, file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil || !key.PublicKey.Equal(next.PublicKey) {
		return nil, err
	}
	return key, nil
}

// NextKey names the key in dir that waits to take the CA's place, if there is one.
func NextKey(dir string) (id KeyID, there bool, err error) {
	key, err := readKey(dir, nextKeyFile)
	if errors.Is(err, os.ErrNotExist) {
		return id, false, nil
	}
	if err != nil {
		return id, false, err
	}
	id, err = keyID(&key.PublicKey)
	return id, true, err
}

// KeyIn reports whether dir has the new CA's key, for now or to come.
func (s Successor) KeyIn(dir string) (bool, error) {
	key, err := s.nextKey(dir, nextKeyFile)
	if err == nil && key == nil {
		key, err = s.nextKey(dir, caKeyFile)
	}
	return key != nil, err
}

// AskKey is how an issuing machine with that key asks another for the new CA's key:
// it proves that it has the present one's.
func (ca *CA) AskKey(machine KeyID) ([]byte, error) { return ca.vouch(vouchMachine, machine[:]) }

// GiveKey answers AskKey with the new CA's key, a secret. machine is whose key the
// one who asks has shown on the connection.
func (s Successor) GiveKey(dir string, machine KeyID, asked []byte) ([]byte, error) {
	cas, err := readBundle(dir)
	if err != nil {
		return nil, err
	}
	known := false
	for _, ca := range cas {
		known = known || vouched(ca, vouchMachine, machine[:], asked)
	}
	if !known {
		return nil, errors.New("who asks for the CA's key has not the one before")
	}
	for _, file := range []string{nextKeyFile, caKeyFile} {
		key, err := s.nextKey(dir, file)
		if err != nil {
			return nil, err
		}
		if key != nil {
			return (&CA{key: key}).KeyPEM()
		}
	}
	return nil, errors.New("the new CA's key is not here")
}

// TakeKey keeps what GiveKey gave.
func (s Successor) TakeKey(dir string, keyPEM []byte) error {
	next, err := s.parse()
	if err != nil {
		return err
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return fmt.Errorf("key of the new CA: %w", err)
	}
	if !key.PublicKey.Equal(next.PublicKey) {
		return errors.New("key of the new CA: it does not belong to its certificate")
	}
	return writeKey(dir, nextKeyFile, key)
}

// Issue lets the machine of dir, which believes the new CA and has its key, issue
// with it from now on. The old CA's key is gone then.
func (s Successor) Issue(dir string) error {
	cas, err := readBundle(dir)
	if err != nil {
		return err
	}
	next, err := s.parse()
	if err != nil {
		return err
	}
	if withKey(cas, next.PublicKey) == nil {
		return errors.New("issue with the new CA: this machine does not believe it yet")
	}
	if key, err := s.nextKey(dir, caKeyFile); err != nil || key != nil {
		return err
	}
	key, err := s.nextKey(dir, nextKeyFile)
	if err != nil {
		return err
	}
	if key == nil {
		return errors.New("issue with the new CA: its key is not here")
	}
	return writeKey(dir, caKeyFile, key)
}

// Settle lets the machine of dir believe the new CA alone, if its own certificate is
// from it.
func (s Successor) Settle(dir string) error {
	next, err := s.parse()
	if err != nil {
		return err
	}
	cert, err := readCert(dir, machineCertFile)
	if err != nil {
		return err
	}
	if err := cert.CheckSignatureFrom(next); err != nil {
		return fmt.Errorf("forget the old CA: this machine's certificate is not from the new one: %w", err)
	}
	cas, err := readBundle(dir)
	if err != nil {
		return err
	}
	if len(cas) > 1 || withKey(cas, next.PublicKey) == nil {
		if err := writeFile(dir, caCertFile, encodeBundle([]*x509.Certificate{next})); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(dir, nextKeyFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the key that has its place now: %w", err)
	}
	return nil
}
