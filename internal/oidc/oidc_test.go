package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// site is an OpenID provider, as far as tokens are concerned.
type site struct {
	t      *testing.T
	server *httptest.Server
	asked  atomic.Int64

	mu   sync.Mutex
	keys map[string]crypto.Signer // by id
	down bool
	now  time.Time
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, keys: map[string]crypto.Signer{}, now: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		s.answer(w, map[string]any{"issuer": s.server.URL, "jwks_uri": s.server.URL + "/keys", "response_types_supported": []string{"code"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) { s.answer(w, map[string]any{"keys": s.published()}) })
	s.server = httptest.NewServer(mux)
	t.Cleanup(s.server.Close)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s.keys["rsa"], s.keys["ec"] = rsaKey, newKey(t)
	return s
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (s *site) answer(w http.ResponseWriter, v any) {
	s.asked.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	_ = json.NewEncoder(w).Encode(v)
}

func (s *site) published() (keys []any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, k := range s.keys {
		keys = append(keys, jose.JSONWebKey{Key: k.Public(), KeyID: id, Use: "sig"})
	}
	return append(keys, map[string]string{"kty": "OF-THE-FUTURE", "kid": "new"}, jose.JSONWebKey{Key: []byte("a secret that was published"), KeyID: "oct"})
}

func (s *site) provider(scope string) *Provider {
	s.t.Helper()
	p, err := New(Config{Issuer: s.server.URL, Audience: "mail", Claim: "email", Scope: scope, Now: func() time.Time { return s.now }})
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// good are the claims of a token that is.
func (s *site) good() map[string]any {
	return map[string]any{
		"iss": s.server.URL, "aud": []string{"mail", "calendar"}, "sub": "1", "email": "ann@example.org",
		"exp": s.now.Add(time.Hour).Unix(), "iat": s.now.Unix(), "scope": "openid mail",
	}
}

// sign signs by the key of an id, which may say that it is another's.
func (s *site) sign(alg jose.SignatureAlgorithm, key any, id string, claims map[string]any) string {
	s.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, new(jose.SignerOptions).WithType("at+jwt").WithHeader("kid", id))
	if err != nil {
		s.t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

func (s *site) token(change map[string]any) string {
	s.t.Helper()
	claims := s.good()
	for k, v := range change {
		if claims[k] = v; v == nil {
			delete(claims, k)
		}
	}
	return s.sign(jose.ES256, s.keys["ec"], "ec", claims)
}

func TestOnlyGoodTokensNameTheirOwner(t *testing.T) {
	s := newSite(t)
	p := s.provider("mail")
	at := func(d time.Duration) int64 { return s.now.Add(d).Unix() }
	unsigned := func() string {
		b64 := base64.RawURLEncoding.EncodeToString
		claims, _ := json.Marshal(s.good())
		return b64([]byte(`{"alg":"none"}`)) + "." + b64(claims) + "."
	}
	whole := s.token(nil)
	for _, c := range []struct {
		name, token string
		err         error
	}{
		{"ES256", whole, nil},
		{"RS256", s.sign(jose.RS256, s.keys["rsa"], "rsa", s.good()), nil},
		{"PS512", s.sign(jose.PS512, s.keys["rsa"], "rsa", s.good()), nil},
		{"one audience", s.token(map[string]any{"aud": "mail"}), nil},
		{"verified", s.token(map[string]any{"email_verified": true}), nil},
		{"verified, as Amazon says it", s.token(map[string]any{"email_verified": "true"}), nil},
		{"scopes in a list", s.token(map[string]any{"scope": nil, "scp": []string{"a", "mail"}}), nil},
		{"expired within the leeway", s.token(map[string]any{"exp": at(-30 * time.Second)}), nil},
		{"expired", s.token(map[string]any{"exp": at(-2 * time.Minute)}), ErrInvalid},
		{"endless", s.token(map[string]any{"exp": nil}), ErrInvalid},
		{"of tomorrow", s.token(map[string]any{"nbf": at(time.Hour)}), ErrInvalid},
		{"for another", s.token(map[string]any{"aud": "calendar"}), ErrInvalid},
		{"for nobody", s.token(map[string]any{"aud": nil}), ErrInvalid},
		{"of another", s.token(map[string]any{"iss": "https://login.example.net"}), ErrInvalid},
		{"without the scope", s.token(map[string]any{"scope": "openid email"}), ErrScope},
		{"without any scope", s.token(map[string]any{"scope": nil}), ErrScope},
		{"without a name", s.token(map[string]any{"email": nil}), ErrInvalid},
		{"a name of another type", s.token(map[string]any{"email": []string{"ann@example.org"}}), ErrInvalid},
		{"not verified", s.token(map[string]any{"email_verified": false}), ErrInvalid},
		{"by another's key", s.sign(jose.ES256, newKey(t), "ec", s.good()), ErrInvalid},
		{"by a key that is not published", s.sign(jose.ES256, newKey(t), "other", s.good()), ErrInvalid},
		{"by a secret that was", s.sign(jose.HS256, []byte("a secret that was published and more"), "oct", s.good()), ErrInvalid},
		{"unsigned", unsigned(), ErrInvalid},
		{"cut", whole[:len(whole)-10], ErrInvalid},
		{"changed", strings.Replace(whole, ".", ".e30", 1), ErrInvalid},
		{"no JWT", "2YotnFZFEjr1zCsicMWpAA", ErrInvalid},
		{"nothing", "", ErrInvalid},
	} {
		name, err := p.Owner(t.Context(), c.token)
		if !errors.Is(err, c.err) || (err == nil) != (name == "ann@example.org") {
			t.Errorf("%s: %q, %v", c.name, name, err)
		}
		if err != nil && len(c.token) > 20 && strings.Contains(err.Error(), c.token[:20]) {
			t.Errorf("%s: the error has the token: %v", c.name, err)
		}
	}
}

func TestProviderIsAskedRarely(t *testing.T) {
	s := newSite(t)
	p := s.provider("")
	good := func() error { _, err := p.Owner(t.Context(), s.token(nil)); return err }
	for range 10 {
		if err := good(); err != nil {
			t.Fatal(err)
		}
		_, err := p.Owner(t.Context(), s.sign(jose.ES256, newKey(t), "made-up", s.good()))
		if !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
	}
	if n := s.asked.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
	s.now = s.now.Add(31 * time.Second)
	s.mu.Lock()
	s.keys["ec"], s.keys["next"] = newKey(t), s.keys["ec"] // and a new one is taken at once
	s.mu.Unlock()
	if _, err := p.Owner(t.Context(), s.sign(jose.ES256, s.keys["next"], "next", s.good())); err != nil {
		t.Error(err)
	}
	if n := s.asked.Load(); n != 4 {
		t.Errorf("asked %d times", n)
	}
}

func TestProviderThatIsDownStopsNobodyWhoseKeyIsKnown(t *testing.T) {
	s := newSite(t)
	p := s.provider("")
	s.down = true
	for range 5 {
		if _, err := p.Owner(t.Context(), s.token(nil)); err == nil || errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
	}
	if n := s.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	s.mu.Lock()
	s.down = false
	s.mu.Unlock()
	s.now = s.now.Add(31 * time.Second)
	if _, err := p.Owner(t.Context(), s.token(nil)); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.down = true
	s.mu.Unlock()
	s.now = s.now.Add(23 * time.Hour)
	if _, err := p.Owner(t.Context(), s.token(nil)); err != nil {
		t.Errorf("down for 23 hours: %v", err)
	}
	if _, err := p.Owner(t.Context(), s.sign(jose.ES256, newKey(t), "made-up", s.good())); err == nil || errors.Is(err, ErrInvalid) {
		t.Errorf("an unknown key while it is down: %v", err)
	}
	s.now = s.now.Add(2 * time.Hour)
	if _, err := p.Owner(t.Context(), s.token(nil)); err == nil || errors.Is(err, ErrInvalid) {
		t.Errorf("down for 25 hours: %v", err)
	}
}

func TestProviderThatMisbehavesIsNotBelieved(t *testing.T) {
	for name, answers := range map[string]map[string]string{
		"another issuer":  {"/.well-known/openid-configuration": `{"issuer":"https://login.example.net","jwks_uri":"URL/keys"}`},
		"keys elsewhere":  {"/.well-known/openid-configuration": `{"issuer":"URL","jwks_uri":"http://192.0.2.1/keys"}`},
		"no keys":         {"/.well-known/openid-configuration": `{"issuer":"URL","jwks_uri":"URL/keys"}`, "/keys": `{"keys":[]}`},
		"no JSON":         {"/.well-known/openid-configuration": `<html>`},
		"endless":         {"/.well-known/openid-configuration": `{"issuer":"` + strings.Repeat("x", 2<<20)},
		"not found":       {},
		"keys of no kind": {"/.well-known/openid-configuration": `{"issuer":"URL","jwks_uri":"URL/keys"}`, "/keys": `{"keys":[1,"x",{}]}`},
	} {
		s := newSite(t)
		var base string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer, ok := answers[r.URL.Path]
			if !ok {
				w.WriteHeader(http.StatusNotFound)
			}
			_, _ = w.Write([]byte(strings.ReplaceAll(answer, "URL", base)))
		}))
		base = server.URL
		p, err := New(Config{Issuer: base, Audience: "mail", Claim: "email", Now: func() time.Time { return s.now }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Owner(t.Context(), s.token(nil)); err == nil || errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		server.Close()
	}
}

func TestProvidersAreAskedByHTTPSOnly(t *testing.T) {
	for address, ok := range map[string]bool{
		"https://login.example.org": true, "https://login.example.org/realms/x": true, "http://127.0.0.1:8080": true, "http://[::1]:1/x": true,
		"http://login.example.org": false, "http://192.0.2.1": false, "login.example.org": false, "": false, "https://": false,
		"https://u@login.example.org": false, "https://login.example.org?x": false, "file:///etc/passwd": false,
	} {
		if err := CheckURL(address); (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := New(Config{Issuer: "https://login.example.org", Claim: "email"}); err == nil {
		t.Error("any audience will do")
	}
}

// FuzzToken: no octets name anybody.
func FuzzToken(f *testing.F) {
	f.Add("eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0.e30.AAAA")
	f.Add("..")
	var s *site
	var p *Provider
	f.Fuzz(func(t *testing.T, token string) {
		if p == nil {
			s = newSite(t)
			s.server.Close() // whatever it is, keys are not there
			p = s.provider("")
		}
		if name, err := p.Owner(t.Context(), token); err == nil {
			t.Fatalf("%q", name)
		}
	})
}
