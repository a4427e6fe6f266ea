package auth

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"unicode/utf8"
)

// ErrSyntax: a client's SASL response is not well formed.
var ErrSyntax = errors.New("malformed authentication response")

// Mechanisms of SASL by their names.
const (
	Plain       = "PLAIN"
	Login       = "LOGIN"
	SCRAM       = "SCRAM-SHA-256"
	SCRAMPlus   = "SCRAM-SHA-256-PLUS"
	OAuthBearer = "OAUTHBEARER"
	XOAuth2     = "XOAUTH2"
	External    = "EXTERNAL"
)

// AllMechanisms are those that there can be, in the order of preference.
func AllMechanisms() []string {
	return []string{External, SCRAMPlus, SCRAM, OAuthBearer, XOAuth2, Plain, Login}
}

// Exchange is the server's side of one SASL exchange, on decoded octets: base64,
// the initial response, "*" and line lengths are the protocol's. One goroutine uses it.
type Exchange interface {
	// Next takes the client's response and returns the challenge to send or, at the
	// end, who the client is. The first call has a nil response if the client sent no
	// initial one; an empty one is not nil. It may block as Authenticate does, whose
	// errors it has, and ErrSyntax; each ends the exchange. A challenge beside an error
	// is sent first, and what the client answers to that means nothing.
	Next(ctx context.Context, response []byte) (challenge []byte, who *Identity, err error)
}

// Peer is what is known of a client before it says who it is. It is made anew when
// TLS begins.
type Peer struct {
	remote   netip.Addr
	tls      *tls.ConnectionState
	bindings map[string][]byte // channel bindings by name
	cert     *x509.Certificate // valid, of the client; nil: it has none
}

// Meet makes a Peer of a client. Without TLS the state is nil; own is the certificate,
// in DER, that the client was shown.
func (a *Authenticator) Meet(remote netip.Addr, state *tls.ConnectionState, own []byte) *Peer {
	p := &Peer{remote: remote, tls: state}
	if state != nil {
		p.bindings = bindings(state, own)
		p.cert = a.valid(state.PeerCertificates)
	}
	return p
}

// Mechanisms are those that Start knows for the client, in the order of preference.
func (a *Authenticator) Mechanisms(p *Peer) []string {
	return slices.DeleteFunc(AllMechanisms(), func(m string) bool { return !a.offers(m, p) })
}

func (a *Authenticator) offers(mechanism string, p *Peer) bool {
	switch mechanism {
	case Plain, Login:
		return true
	case SCRAM:
		return a.scram.Load() != nil
	case SCRAMPlus:
		return a.scram.Load() != nil && len(p.bindings) > 0
	case OAuthBearer, XOAuth2:
		return a.cfg.Tokens != nil
	case External:
		return p.cert != nil
	}
	return false
}

// Start begins an exchange; false if the mechanism, in upper case, is not for this client.
func (a *Authenticator) Start(mechanism string, p *Peer) (Exchange, bool) {
	if !a.offers(mechanism, p) {
		return nil, false
	}
	switch mechanism {
	case Plain:
		return &plain{a, p}, true
	case Login:
		return &login{auth: a, peer: p}, true
	case SCRAM, SCRAMPlus:
		// The setting may end between the two looks at it.
		s := a.scram.Load()
		return &scram{auth: a, peer: p, setting: s, plus: mechanism == SCRAMPlus}, s != nil
	case OAuthBearer, XOAuth2:
		return &bearer{auth: a, peer: p, google: mechanism == XOAuth2}, true
	}
	return &external{a, p}, true
}

// plain is RFC 4616.
type plain struct {
	auth *Authenticator
	peer *Peer
}

// Next implements Exchange.
func (p *plain) Next(ctx context.Context, response []byte) ([]byte, *Identity, error) {
	if response == nil {
		return []byte{}, nil, nil
	}
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 || !fits(parts...) || len(parts[1]) == 0 {
		return nil, nil, fmt.Errorf("PLAIN: %w", ErrSyntax)
	}
	return p.auth.attempt(ctx, Attempt{As: string(parts[0]), User: string(parts[1]), Password: string(parts[2]), Remote: p.peer.remote})
}

// login is the obsolete mechanism that Outlook and old MTAs insist on
// (draft-murchison-sasl-login).
type login struct {
	auth *Authenticator
	peer *Peer
	step int
	user string
}

// Next implements Exchange.
func (l *login) Next(ctx context.Context, response []byte) ([]byte, *Identity, error) {
	if response == nil && l.step == 0 {
		return []byte("Username:"), nil, nil
	}
	if !fits(response) || bytes.IndexByte(response, 0) >= 0 {
		return nil, nil, fmt.Errorf("LOGIN: %w", ErrSyntax)
	}
	l.step++
	switch {
	case l.step == 1 && len(response) > 0:
		l.user = string(response)
		return []byte("Password:"), nil, nil
	case l.step == 2:
		return l.auth.attempt(ctx, Attempt{User: l.user, Password: string(response), Remote: l.peer.remote})
	}
	return nil, nil, fmt.Errorf("LOGIN: %w", ErrSyntax)
}

// attempt is Authenticate as the end of an exchange.
func (a *Authenticator) attempt(ctx context.Context, t Attempt) ([]byte, *Identity, error) {
	return ended(a.Authenticate(ctx, t))
}

func ended(id Identity, err error) ([]byte, *Identity, error) {
	if err != nil {
		return nil, nil, err
	}
	return nil, &id, nil
}

func fits(fields ...[]byte) bool {
	for _, f := range fields {
		if len(f) > maxPassword || !utf8.Valid(f) {
			return false
		}
	}
	return true
}
