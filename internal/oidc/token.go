package oidc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Errors.
var (
	// ErrInvalid: a token is not good, for certain.
	ErrInvalid = errors.New("token is not valid")
	// ErrScope: it is good for something else. It is an ErrInvalid.
	ErrScope = fmt.Errorf("%w: it lacks the scope", ErrInvalid)
)

// leeway is what clocks may differ by.
const leeway = time.Minute

// maxName bounds a user's name in octets.
const maxName = 1024

// algorithms of signatures: those with keys that a provider can publish.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

// Owner is the name that a token has for its user. ErrInvalid or ErrScope if it is not
// good; any other error is temporary. It blocks for 10 seconds at most, when keys have to
// be read.
func (p *Provider) Owner(ctx context.Context, token string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	t, err := jwt.ParseSigned(token, algorithms())
	if err != nil || len(t.Headers) != 1 {
		return "", fmt.Errorf("%w: it is no signed JWT", ErrInvalid) // err may have parts of it
	}
	keys, err := p.keysOf(ctx, t.Headers[0].KeyID)
	if err != nil {
		return "", err
	}
	for _, k := range keys {
		if k.Algorithm != "" && k.Algorithm != t.Headers[0].Algorithm {
			continue
		}
		var std jwt.Claims
		var all map[string]any
		if t.Claims(k.Key, &std, &all) == nil {
			return p.owner(std, all)
		}
	}
	return "", fmt.Errorf("%w: it is not signed by the key that it names", ErrInvalid)
}

// owner judges the claims of a token that the provider has signed.
func (p *Provider) owner(std jwt.Claims, all map[string]any) (string, error) {
	now := p.cfg.Now()
	bad := func(why string) (string, error) { return "", fmt.Errorf("%w: %s", ErrInvalid, why) }
	switch {
	case std.Issuer != p.cfg.Issuer:
		return bad(fmt.Sprintf("its issuer is %.200q", std.Issuer))
	case !std.Audience.Contains(p.cfg.Audience):
		return bad(fmt.Sprintf("its audience is %.200q", strings.Join(std.Audience, " ")))
	case std.Expiry == nil:
		return bad("it never expires")
	case now.Add(-leeway).After(std.Expiry.Time()):
		return bad("it has expired")
	case std.NotBefore != nil && now.Add(leeway).Before(std.NotBefore.Time()):
		return bad("it is not valid yet")
	case p.cfg.Scope != "" && !slices.Contains(scopes(all), p.cfg.Scope):
		return "", ErrScope
	}
	name, ok := all[p.cfg.Claim].(string)
	switch verified, said := all["email_verified"]; {
	case !ok || name == "" || len(name) > maxName:
		return bad("it has no claim " + p.cfg.Claim)
	case p.cfg.Claim == "email" && said && verified != true && verified != "true":
		return bad("its email is not verified")
	}
	return name, nil
}

// scopes are those of RFC 9068, or as other providers give them.
func scopes(all map[string]any) (out []string) {
	for _, claim := range []string{"scope", "scp"} {
		switch v := all[claim].(type) {
		case string:
			out = append(out, strings.Fields(v)...)
		case []any:
			for _, s := range v {
				if s, ok := s.(string); ok {
					out = append(out, s)
				}
			}
		}
	}
	return out
}
