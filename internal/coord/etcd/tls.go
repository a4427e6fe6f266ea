package etcd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"go.etcd.io/etcd/client/pkg/v3/tlsutil"
	"go.etcd.io/etcd/client/pkg/v3/transport"
)

// Files are the PEM files of one TLS identity. The certificate and its key are
// read again for every connection, so that they can be renewed under it. So are the
// CAs of a client with a ServerName; a member reads those when it starts.
type Files struct {
	// Cert and Key are shown to the other end; a client may have none.
	Cert, Key string
	// CA has the CAs that sign the certificates of the other end.
	CA string
	// Revoked, if set, is a list of certificates, in DER, that a member refuses at its
	// peer port: at the other one MemberConfig.Refuse says why. It is read again for
	// every connection, and must be there.
	Revoked string
	// ServerName is what a member's certificate must name, instead of the host it
	// was reached at; "" means the host.
	ServerName string
}

// member is for a private CA, whose certificates name machines: that a peer has
// one is its identity, whatever address it comes from.
func (f Files) member() transport.TLSInfo {
	return transport.TLSInfo{
		CertFile: f.Cert, KeyFile: f.Key, TrustedCAFile: f.CA, MinVersion: tls.VersionTLS13,
		ClientCertAuth: true, ServerName: f.ServerName, SkipClientSANVerify: true,
	}
}

// client is nil for plain connections.
func (f Files) client() (*tls.Config, error) {
	if f == (Files{}) {
		return nil, nil
	}
	info := transport.TLSInfo{CertFile: f.Cert, KeyFile: f.Key, TrustedCAFile: f.CA, ServerName: f.ServerName}
	config, err := info.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read TLS files: %w", err)
	}
	return f.verifyByName(config), nil
}

// verifyByName makes a configured ServerName count: etcd's resolver puts the
// endpoint's host in its place. The chain and the name are verified as
// crypto/tls would, against what is in the CA's file now.
func (f Files) verifyByName(config *tls.Config) *tls.Config {
	if config.ServerName == "" {
		return config
	}
	out := config.Clone()
	out.InsecureSkipVerify = true // VerifyConnection does it instead
	out.VerifyConnection = func(s tls.ConnectionState) error {
		roots, err := tlsutil.NewCertPool([]string{f.CA})
		if err != nil {
			return fmt.Errorf("read %s: %w", f.CA, err)
		}
		opts := x509.VerifyOptions{Roots: roots, DNSName: config.ServerName, Intermediates: x509.NewCertPool()}
		if len(s.PeerCertificates) == 0 {
			return errors.New("the member has no certificate")
		}
		for _, c := range s.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		_, err = s.PeerCertificates[0].Verify(opts)
		return err
	}
	return out
}
