package app

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/auth"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/oidc"
)

// strangers are whom this machine believes that a user is who they say: a provider of
// tokens, and CAs.
func (m *machine) strangers(cfg *auth.Config) error {
	if file := m.cfg.Client.CA; file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read client.ca: %w", err)
		}
		m.clientCAs = x509.NewCertPool()
		if !m.clientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("read client.ca: there is no certificate in %s", file)
		}
		cfg.ClientCAs = m.clientCAs
	}
	if o := m.cfg.Client.OAuth; o != nil {
		p, err := oidc.New(oidc.Config{Issuer: o.Issuer, Audience: o.Audience, Claim: o.Claim, Scope: o.Scope})
		if err != nil {
			return fmt.Errorf("client.oauth: %w", err)
		}
		cfg.Tokens = p
	}
	return nil
}

// followSCRAM keeps authentication up with the cluster's setting until ctx ends.
func (m *machine) followSCRAM(ctx context.Context) error {
	set := func(kv coord.KV) {
		s, err := coord.Decode[auth.SCRAMSetting](kv)
		if err != nil {
			m.log.Error("the setting for SCRAM is not readable: it is not offered", "err", err)
			m.auth.SetSCRAM(nil)
			return
		}
		m.auth.SetSCRAM(&s)
	}
	return coord.Follow(ctx, m.coord, coord.Following{Prefix: coord.SCRAMKey}, func(u coord.Update) {
		if u.Listed != "" && len(u.All) == 0 {
			m.auth.SetSCRAM(nil)
		}
		for _, kv := range u.All {
			set(kv)
		}
		for _, c := range u.Changes {
			if c.Deleted {
				m.auth.SetSCRAM(nil)
			} else {
				set(c.KV)
			}
		}
	})
}

// scramSetting reads the cluster's; nil: SCRAM is off.
func (b *backend) scramSetting(ctx context.Context) (*auth.SCRAMSetting, error) {
	v, rev, err := b.coord.Get(ctx, coord.SCRAMKey)
	if err != nil {
		return nil, unavailable(err)
	}
	if rev == 0 {
		return nil, nil
	}
	s, err := coord.Decode[auth.SCRAMSetting](coord.KV{Key: coord.SCRAMKey, Value: v})
	return &s, err
}

func noPassword() error {
	return &api.Error{Status: http.StatusBadRequest, Message: "a user needs a password"}
}

// secrets makes what a password is verified against, in the ways that are on.
func (b *backend) secrets(ctx context.Context, password string) (credential, verifier string, err error) {
	if credential, err = b.hasher.Hash(ctx, password); err != nil {
		return "", "", fmt.Errorf("hash password: %w", err)
	}
	s, err := b.scramSetting(ctx)
	if err == nil && s != nil {
		verifier, err = b.hasher.Verifier(ctx, password, s.Iterations)
	}
	return credential, verifier, err
}

// SetPassword implements api.Backend.
func (b *backend) SetPassword(ctx context.Context, address string, req api.PasswordRequest) (api.User, error) {
	begun := time.Now()
	if req.Password == "" {
		return api.User{}, noPassword()
	}
	u, err := b.users.Lookup(ctx, address)
	if err != nil {
		return api.User{}, userError(address, err)
	}
	credential, verifier, err := b.secrets(ctx, req.Password)
	if err != nil {
		return api.User{}, err
	}
	u, err = b.users.Update(ctx, u.Name, func(u *directory.User) error {
		u.Credential, u.Verifier = credential, verifier
		return nil
	})
	if err != nil {
		return api.User{}, userError(address, err)
	}
	b.note(ctx, coord.HistoryEntry{At: begun, By: req.By, Kind: "password", Store: u.Store, Reason: u.Name, Took: time.Since(begun)})
	return userOf(u), nil
}

// SCRAM implements api.Backend.
func (b *backend) SCRAM(ctx context.Context) (api.SCRAM, error) {
	s, err := b.scramSetting(ctx)
	if err != nil {
		return api.SCRAM{}, err
	}
	if err := b.users.Wait(ctx); err != nil {
		return api.SCRAM{}, unavailable(err)
	}
	var out api.SCRAM
	if s != nil {
		out.On, out.Iterations = true, s.Iterations
	}
	for u := range b.users.List() {
		if out.Users++; u.Verifier != "" {
			out.Verifiers++
		}
	}
	return out, nil
}

// SetSCRAM implements api.Backend. The key comes first and goes first: a password that is
// set meanwhile may leave a verifier, which a second attempt finds.
func (b *backend) SetSCRAM(ctx context.Context, req api.SCRAM) (api.SCRAM, error) {
	begun := time.Now()
	if err := b.users.Wait(ctx); err != nil {
		return api.SCRAM{}, unavailable(err)
	}
	reason := "on"
	if req.On {
		s := auth.SCRAMSetting{Iterations: auth.Iterations, Key: make([]byte, 32)}
		_, _ = rand.Read(s.Key) // it never fails
		_, _, err := b.coord.Txn(ctx, coord.Txn{
			If:   []coord.Compare{{Key: coord.SCRAMKey}}, // who is told salts made with a key must not see another
			Then: []coord.Op{coord.Put(coord.SCRAMKey, coord.Encode(s))},
		})
		if err != nil {
			return api.SCRAM{}, unavailable(err)
		}
	} else {
		if _, _, err := b.coord.Txn(ctx, coord.Txn{Then: []coord.Op{coord.Delete(coord.SCRAMKey)}}); err != nil {
			return api.SCRAM{}, unavailable(err)
		}
		n, err := b.removeVerifiers(ctx)
		if err != nil {
			return api.SCRAM{}, err
		}
		reason = fmt.Sprintf("off, %d verifiers removed", n)
	}
	b.note(ctx, coord.HistoryEntry{At: begun, By: req.By, Kind: "scram", Reason: reason, Took: time.Since(begun)})
	return b.SCRAM(ctx)
}

// changers is how many entries are changed at a time.
const changers = 16

// removeVerifiers takes from all users what SCRAM is proven against.
func (b *backend) removeVerifiers(ctx context.Context) (int64, error) {
	var n atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(changers)
	for u := range b.users.List() {
		if u.Verifier == "" {
			continue
		}
		g.Go(func() error {
			_, err := b.users.Update(ctx, u.Name, func(u *directory.User) error {
				u.Verifier = ""
				return nil
			})
			switch {
			case err == nil:
				n.Add(1)
			case errors.Is(err, directory.ErrNoUser): // it is gone, and with it what it had
			default:
				return userError(u.Name, err)
			}
			return nil
		})
	}
	err := g.Wait()
	return n.Load(), err
}
