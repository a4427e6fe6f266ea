// Package oidc says whose a token of an OpenID provider is: a JWT (RFC 7519, RFC 9068)
// that one of the provider's published keys has signed (RFC 7517, OpenID Connect
// Discovery).
//
// It does not know users, sessions or mechanisms, asks the provider nothing about a
// single token, and never gets one. So a provider that is down stops nobody whose key
// is known, and a token is good until it expires.
//
// Invariants. A token is refused for certain only by what it says itself, or by keys
// that were read; that they cannot be read is temporary. No error has anything in it of a
// token but its claims. The provider is asked at most every 30 seconds, within bounds of
// time and octets, whatever tokens come.
//
// Concurrency: a Provider is safe for concurrent use.
package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Config says which tokens are good. Issuer, Audience and Claim are required.
type Config struct {
	Issuer   string // the provider's URL, exactly as its tokens have it
	Audience string // that a token is for
	Claim    string // that has the user's name, such as "email"
	Scope    string // that a token needs; "" is none

	HTTP *http.Client // nil: one of its own, with the host's CAs
	Now  func() time.Time
}

const (
	askTime  = 10 * time.Second // for a token, the provider's answers included
	askPause = 30 * time.Second // between two attempts to read keys
	fresh    = time.Hour        // keys are read anew after that
	stale    = 24 * time.Hour   // and are not believed after that
	maxBody  = 1 << 20          // of an answer, in octets
	maxKeys  = 64
)

// Provider is one. Use New.
type Provider struct {
	cfg  Config
	turn chan struct{} // a place for who reads keys

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	read    time.Time // when these were; zero: never
	tried   time.Time // when the last attempt began
	failure error     // of the last attempt
}

// New asks nobody yet.
func New(cfg Config) (*Provider, error) {
	if cfg.Audience == "" || cfg.Claim == "" {
		return nil, errors.New("oidc: Audience and Claim are required")
	}
	if err := CheckURL(cfg.Issuer); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{Timeout: askTime}
	}
	client := *cfg.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	cfg.HTTP = &client
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Provider{cfg: cfg, turn: make(chan struct{}, 1)}, nil
}

// CheckURL says what is wrong with the address of a provider: who answers there says who
// everybody is, so it is https, but on this host.
func CheckURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is no address of a provider", s)
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if u.Scheme == "https" || u.Scheme == "http" && err == nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%q is not https", s)
}

// Wanted is the scope that a token needs, and the address of the provider's own
// description, for a client.
func (p *Provider) Wanted() (scope, configuration string) {
	return p.cfg.Scope, strings.TrimSuffix(p.cfg.Issuer, "/") + "/.well-known/openid-configuration"
}

// candidates are the keys that may have signed under an id; "" is any. usable says
// whether they may be believed, isFresh that nobody need be asked.
func (p *Provider) candidates(id string) (keys []jose.JSONWebKey, usable, isFresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.keys {
		if id == "" || k.KeyID == id {
			keys = append(keys, k)
		}
	}
	age := p.cfg.Now().Sub(p.read)
	usable = len(keys) > 0 && age < stale
	return keys, usable, usable && age < fresh
}

// keysOf returns the keys that may have signed under an id, and reads them if need be.
// ErrInvalid if the provider has none such.
func (p *Provider) keysOf(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	keys, usable, isFresh := p.candidates(id)
	if isFresh {
		return keys, nil
	}
	select {
	case p.turn <- struct{}{}:
	default:
		if usable {
			return keys, nil
		}
		select {
		case p.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the keys of %s: %w", p.cfg.Issuer, ctx.Err())
		}
	}
	defer func() { <-p.turn }()
	if keys, usable, isFresh = p.candidates(id); isFresh { // another read them meanwhile
		return keys, nil
	}
	err := p.refresh(ctx)
	if err == nil {
		keys, usable, _ = p.candidates(id)
	}
	switch {
	case usable:
		return keys, nil
	case err != nil:
		return nil, err
	}
	return nil, fmt.Errorf("%w: it is signed by a key that the provider does not have", ErrInvalid)
}

// refresh reads the keys, unless that was tried a moment ago: then it returns what came of
// it. Its caller has the turn. It is for all who wait, so that it does not end with the
// one whose token came first.
func (p *Provider) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	now := p.cfg.Now()
	p.mu.Lock()
	tried, failure := p.tried, p.failure
	p.mu.Unlock()
	if !tried.IsZero() && now.Sub(tried) < askPause {
		return failure
	}
	keys, err := p.readKeys(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tried, p.failure = now, err
	if err == nil {
		p.keys, p.read = keys, now
	}
	return err
}

// readKeys asks the provider where its keys are, and for them.
func (p *Provider) readKeys(ctx context.Context) ([]jose.JSONWebKey, error) {
	_, address := p.Wanted()
	var about struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := p.get(ctx, address, &about); err != nil {
		return nil, err
	}
	if about.Issuer != p.cfg.Issuer {
		return nil, fmt.Errorf("the provider at %s calls itself %q", p.cfg.Issuer, about.Issuer)
	}
	if err := CheckURL(about.Keys); err != nil {
		return nil, fmt.Errorf("keys of %s: %w", p.cfg.Issuer, err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := p.get(ctx, about.Keys, &set); err != nil {
		return nil, err
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if err := json.Unmarshal(raw, &k); err != nil || !k.Valid() || !k.IsPublic() || k.Use != "" && k.Use != "sig" {
			continue // of a kind that nobody signs with, or that we do not know
		}
		if keys = append(keys, k); len(keys) == maxKeys {
			break
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("the provider at %s has no keys", p.cfg.Issuer)
	}
	return keys, nil
}

func (p *Provider) get(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", address, err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := p.cfg.HTTP.Do(req)
	if err != nil {
		return err // it names the address
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask %s: answered %s", address, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(into); err != nil {
		return fmt.Errorf("ask %s: read the answer: %w", address, err)
	}
	return nil
}
