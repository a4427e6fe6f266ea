package auth

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
)

// valid is the client's certificate, if one of our CAs says so now. What else a client
// shows is passed over: it may be for somebody else.
func (a *Authenticator) valid(chain []*x509.Certificate) *x509.Certificate {
	if a.cfg.ClientCAs == nil || len(chain) == 0 {
		return nil
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: a.cfg.ClientCAs, Intermediates: between, CurrentTime: a.cfg.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil
	}
	return chain[0]
}

// external is EXTERNAL (RFC 4422 A) by the certificate of the client's TLS.
type external struct {
	auth *Authenticator
	peer *Peer
}

// Next implements Exchange.
func (e *external) Next(ctx context.Context, response []byte) ([]byte, *Identity, error) {
	switch {
	case response == nil:
		return []byte{}, nil, nil
	case !fits(response), containsNUL(response):
		return nil, nil, fmt.Errorf("EXTERNAL: %w", ErrSyntax)
	}
	return ended(e.auth.certified(ctx, e.peer, string(response)))
}

// certified lets in whom the certificate names: by its e-mail addresses, of which the
// first counts that may act as the user who is wanted; without any, by its common name.
func (a *Authenticator) certified(ctx context.Context, p *Peer, as string) (Identity, error) {
	if a.limited("", p.remote) {
		return Identity{}, ErrLimited
	}
	names := p.cert.EmailAddresses
	if len(names) == 0 {
		names = []string{p.cert.Subject.CommonName}
	}
	refused := fmt.Errorf("%w: it names no user who may act so", ErrToken)
	for _, name := range names {
		user, err := a.cfg.Users.Lookup(ctx, name)
		switch {
		case nobody(err):
			continue
		case err != nil:
			return Identity{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		id, err := a.authorise(ctx, user, as)
		if !errors.Is(err, ErrFailed) {
			return id, err
		}
	}
	a.failed("", p.remote)
	return Identity{}, refused
}
