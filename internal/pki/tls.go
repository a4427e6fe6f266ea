package pki

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Allowed asks the membership whether that key is that machine's. It is called in
// every handshake, from many goroutines, and should answer from memory. An error
// refuses the connection.
type Allowed func(machine cluster.Machine, key KeyID) error

// Server is the TLS configuration for accepting machines. ALPN protocols are
// required: a client that offers none of them is refused.
func (id *Identity) Server(allowed Allowed, alpn ...string) *tls.Config {
	cfg := id.config(allowed, "", alpn)
	cfg.ClientAuth = tls.RequireAnyClientCert // verified in VerifyConnection
	return cfg
}

// Client is the TLS configuration for calling the given machine, and no other.
func (id *Identity) Client(peer cluster.Machine, allowed Allowed, alpn ...string) *tls.Config {
	cfg := id.config(allowed, peer, alpn)
	// The name to check is the machine's, against the membership, not a host name
	// against public authorities: VerifyConnection does all of it.
	cfg.InsecureSkipVerify = true
	return cfg
}

func (id *Identity) config(allowed Allowed, want cluster.Machine, alpn []string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: alpn,
		// Asked in each handshake: they may have been renewed.
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return id.certificate(), nil },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return id.certificate(), nil },
		// Few connections that live long: no resumption, and full records from
		// the first octet on.
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			machine, key, err := id.Peer(cs)
			if err != nil {
				return err
			}
			if want != "" && machine != want {
				return fmt.Errorf("called machine %s, but %s answered", want, machine)
			}
			if len(alpn) > 0 && cs.NegotiatedProtocol == "" {
				return fmt.Errorf("machine %s offers none of the protocols %q", machine, alpn)
			}
			if err := allowed(machine, key); err != nil {
				return fmt.Errorf("machine %s with key %s: %w", machine, key, err)
			}
			return nil
		},
	}
}

// Peer says who is at the other end of a connection made with Server or Client.
func (id *Identity) Peer(cs tls.ConnectionState) (cluster.Machine, KeyID, error) {
	if len(cs.PeerCertificates) == 0 {
		return "", KeyID{}, errors.New("peer shows no certificate")
	}
	return id.papers.Load().verify(cs.PeerCertificates[0])
}
