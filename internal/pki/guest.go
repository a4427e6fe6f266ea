package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// GuestServer is the TLS configuration for those who have no certificate yet: the
// server shows its own and the CA's, and asks for none.
func (id *Identity) GuestServer(alpn string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{alpn}, SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			p := id.papers.Load()
			cert := p.cert
			cert.Certificate = [][]byte{cert.Leaf.Raw, p.issuer.Raw}
			return &cert, nil
		},
	}
}

// GuestClient is the TLS configuration for one who has no certificate yet and knows
// the key of the cluster's CA: it talks to a machine certified by that CA, and to
// nobody else.
func GuestClient(authority KeyID, alpn string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{alpn}, SessionTicketsDisabled: true,
		// There is no host name and no public authority: VerifyConnection does all of it.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if cs.NegotiatedProtocol != alpn {
				return fmt.Errorf("the other end does not speak %s", alpn)
			}
			_, err := authorityOf(cs.PeerCertificates, authority)
			return err
		},
	}
}

// authorityOf checks that the CA of that key signed the first certificate, and
// returns the CA's.
func authorityOf(chain []*x509.Certificate, authority KeyID) (*x509.Certificate, error) {
	if len(chain) < 2 {
		return nil, errors.New("the other end does not show its CA")
	}
	ca := chain[1]
	id, err := keyID(ca.PublicKey)
	if err != nil {
		return nil, err
	}
	if id != authority {
		return nil, fmt.Errorf("the other end is of another cluster, or its CA was replaced since: the CA has key %s, not %s", id, authority)
	}
	_, _, err = verify(chain[0], ca)
	return ca, err
}
