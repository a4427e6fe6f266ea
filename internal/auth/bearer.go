package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tandemail/tandemail/internal/oidc"
)

// maxBearer bounds a response that has a token in it, in octets.
const maxBearer = 12 << 10

// bearer is OAUTHBEARER (RFC 7628), or XOAUTH2, which is Google's and older.
type bearer struct {
	auth   *Authenticator
	peer   *Peer
	google bool
}

// Next implements Exchange.
func (b *bearer) Next(ctx context.Context, response []byte) ([]byte, *Identity, error) {
	if response == nil {
		return []byte{}, nil, nil
	}
	parse := parseBearer
	if b.google {
		parse = parseXOAuth2
	}
	t, err := parse(response)
	if err != nil {
		return nil, nil, err
	}
	id, err := b.auth.bearing(ctx, b.peer, t)
	if errors.Is(err, ErrFailed) {
		return b.refusal(err), nil, err
	}
	return ended(id, err)
}

// bearing lets in whom the token names.
func (a *Authenticator) bearing(ctx context.Context, p *Peer, t bearerToken) (Identity, error) {
	if a.limited("", p.remote) {
		return Identity{}, ErrLimited
	}
	if t.token == "" { // RFC 7628 4.3: it asks where to get one
		return Identity{}, fmt.Errorf("%w: there is none", ErrToken)
	}
	name, err := a.cfg.Tokens.Owner(ctx, t.token)
	if err == nil {
		return a.owner(ctx, p, name, t.authzid)
	}
	if !errors.Is(err, oidc.ErrInvalid) {
		return Identity{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	a.failed("", p.remote)
	return Identity{}, fmt.Errorf("%w: %w", ErrToken, err)
}

func (a *Authenticator) owner(ctx context.Context, p *Peer, name, as string) (Identity, error) {
	user, err := a.cfg.Users.Lookup(ctx, name)
	var id Identity
	switch {
	case err == nil:
		id, err = a.authorise(ctx, user, as)
	case nobody(err):
		err = ErrFailed
	default:
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if errors.Is(err, ErrFailed) {
		a.failed("", p.remote)
		err = fmt.Errorf("%w: it names no user who may act so", ErrToken)
	}
	return id, err
}

// refusal is the challenge that tells a client of a token that is not good: what to do
// about it (RFC 7628 3.2.2).
func (b *bearer) refusal(err error) []byte {
	scope, configuration := b.auth.cfg.Tokens.Wanted()
	said := struct {
		Status        string `json:"status"`
		Schemes       string `json:"schemes,omitempty"`
		Scope         string `json:"scope,omitempty"`
		Configuration string `json:"openid-configuration,omitempty"`
	}{Status: "invalid_token", Scope: scope, Configuration: configuration}
	switch {
	case b.google:
		said.Status, said.Schemes, said.Configuration = "401", "bearer", ""
	case errors.Is(err, oidc.ErrScope):
		said.Status = "insufficient_scope"
	}
	out, _ := json.Marshal(said) // strings only
	return out
}

// bearerToken is what a client says with a token. String keeps it out of logs.
type bearerToken struct {
	authzid string // "" is none
	token   string // "" is none
}

// String implements fmt.Stringer.
func (bearerToken) String() string { return "token" }

// parseBearer reads OAUTHBEARER's response (RFC 7628 3.1).
func parseBearer(message []byte) (bearerToken, error) {
	bad := func(why string) (bearerToken, error) {
		return bearerToken{}, fmt.Errorf("OAUTHBEARER: %s: %w", why, ErrSyntax)
	}
	if len(message) > maxBearer {
		return bad("length")
	}
	h, rest, err := parseGS2(message)
	if err != nil {
		return bearerToken{}, err
	}
	if h.flag == 'p' {
		return bad("channel binding")
	}
	rest, ok := bytes.CutPrefix(rest, []byte{1})
	if !ok {
		return bad("form")
	}
	pairs, ok := keyValues(rest)
	if !ok {
		return bad("form")
	}
	t := bearerToken{authzid: h.authzid}
	auth, there := pairs["auth"]
	if t.token, ok = tokenOf(auth); !ok || !there {
		return bad("auth")
	}
	return t, nil
}

// parseXOAuth2 reads XOAUTH2's response.
func parseXOAuth2(message []byte) (bearerToken, error) {
	bad := func(why string) (bearerToken, error) {
		return bearerToken{}, fmt.Errorf("XOAUTH2: %s: %w", why, ErrSyntax)
	}
	if len(message) > maxBearer {
		return bad("length")
	}
	pairs, ok := keyValues(message)
	if !ok {
		return bad("form")
	}
	t := bearerToken{authzid: pairs["user"]}
	if len(t.authzid) > maxPassword || !fits([]byte(t.authzid)) {
		return bad("user")
	}
	if t.token, ok = tokenOf(pairs["auth"]); !ok || t.token == "" {
		return bad("auth")
	}
	return t, nil
}

// keyValues reads pairs, each of which 0x01 ends, and one 0x01 after them all.
func keyValues(b []byte) (map[string]string, bool) {
	pairs := map[string]string{}
	for !bytes.Equal(b, []byte{1}) {
		pair, rest, ended := bytes.Cut(b, []byte{1})
		key, value, ok := bytes.Cut(pair, []byte{'='})
		if !ended || !ok || len(key) == 0 || containsNUL(pair) {
			return nil, false
		}
		for _, c := range key {
			if (c|0x20) < 'a' || (c|0x20) > 'z' {
				return nil, false
			}
		}
		if _, twice := pairs[string(key)]; twice {
			return nil, false
		}
		pairs[string(key)] = string(value)
		b = rest
	}
	return pairs, true
}

// tokenOf reads "Bearer token" (RFC 6750 2.1), or nothing.
func tokenOf(auth string) (string, bool) {
	if auth == "" {
		return "", true
	}
	scheme, token, ok := strings.Cut(auth, " ")
	token = strings.TrimLeft(token, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", false
	}
	for _, c := range []byte(strings.TrimRight(token, "=")) {
		switch {
		case c >= '0' && c <= '9', c|0x20 >= 'a' && c|0x20 <= 'z', strings.IndexByte("-._~+/", c) >= 0:
		default:
			return "", false
		}
	}
	return token, true
}

func containsNUL(b []byte) bool { return bytes.IndexByte(b, 0) >= 0 }
