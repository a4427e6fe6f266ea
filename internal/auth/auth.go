// Package auth answers "is this who they say?": credentials, SASL exchanges,
// remembered successes and a limit on failures. It is used by front ends, by
// whatever else speaks a protocol with passwords, and by the API.
//
// It does not know protocols, sessions or where a store's master is, and never
// logs or returns a password.
//
// Invariants. An unknown user takes as long as a wrong password and gets the same
// answer. A directory that is not ready is a temporary error, never a refusal.
// A remembered success is tied to the credential it was verified against, so that
// a changed password forgets it. All memory is bounded. A mechanism is offered only to
// a client that can end it: what needs TLS or a certificate is not, without.
//
// Concurrency: an Authenticator is safe for concurrent use; verifications beyond
// the hasher's slots wait, within their context.
package auth

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/mail"
)

// Errors.
var (
	// ErrFailed: wrong user or password; which is not said.
	ErrFailed = errors.New("authentication failed")
	// ErrLimited: too many failures; try later. The password was not looked at.
	ErrLimited = errors.New("too many failed authentications")
	// ErrUnavailable: nobody can say now.
	ErrUnavailable = errors.New("authentication unavailable")
	// ErrFrozen: the user is known and right, and may not come in for now.
	ErrFrozen = errors.New("account is frozen")
	// ErrToken: a token or a certificate lets nobody in, an ErrFailed. The error says why,
	// and nothing that is secret.
	ErrToken = fmt.Errorf("token or certificate is not accepted: %w", ErrFailed)
)

// Identity is who a session is.
type Identity struct {
	User string // whose account is used
	// AuthorisedBy is whose password it was, if not the user's own.
	AuthorisedBy string
	Account      mail.AccountID
	Store        cluster.Store
}

// Attempt is one try to authenticate.
type Attempt struct {
	User     string // whose password it is
	As       string // whose account is wanted; "" means User
	Password string
	Remote   netip.Addr // the client's; the zero value is not limited by address
}

// Users is what auth needs of the directory.
type Users interface {
	Lookup(ctx context.Context, name string) (directory.User, error)
}

// Tokens is what auth needs of a provider of tokens; *oidc.Provider is one.
type Tokens interface {
	// Owner is whom a token names. An oidc.ErrInvalid is certain, any other error
	// temporary. No error has anything of the token in it.
	Owner(ctx context.Context, token string) (name string, err error)
	// Wanted says what a token needs: its scope, "" if none, and where a client reads
	// how to get one.
	Wanted() (scope, configuration string)
}

// Config has good zero values except for Users.
type Config struct {
	Users  Users
	Hasher *Hasher // nil: NewHasher's defaults
	Tokens Tokens  // nil: tokens let nobody in
	// ClientCAs certify users for EXTERNAL; nil: nobody does.
	ClientCAs *x509.CertPool
	// Remember is how long a success is remembered; 0 means 5 min, negative never.
	Remember time.Duration
	// UserFailures and AddressFailures may happen in a row; afterwards one more
	// every FailureEvery. 0 mean 10, 50 and 30 s.
	UserFailures, AddressFailures int
	FailureEvery                  time.Duration
	Now                           func() time.Time
	Rand                          io.Reader
}

const (
	maxRemembered = 20_000
	maxLimited    = 20_000 // addresses, and users
)

// Authenticator verifies.
type Authenticator struct {
	cfg     Config
	key     [32]byte // of this process: what is remembered is worth nothing elsewhere
	dummy   string   // a credential nobody has
	nobodys string   // a verifier nobody has
	scram   atomic.Pointer[SCRAMSetting]

	mu        sync.Mutex
	success   *memory
	users     *limiter
	addresses *limiter
}

// New draws a key and makes one credential.
func New(cfg Config) (*Authenticator, error) {
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Hasher == nil {
		cfg.Hasher = NewHasher(Params{}, cfg.Rand, 0)
	}
	cfg.Remember = cmp.Or(cfg.Remember, 5*time.Minute)
	cfg.UserFailures = cmp.Or(cfg.UserFailures, 10)
	cfg.AddressFailures = cmp.Or(cfg.AddressFailures, 50)
	cfg.FailureEvery = cmp.Or(cfg.FailureEvery, 30*time.Second)
	a := &Authenticator{
		cfg:       cfg,
		success:   newMemory(maxRemembered),
		users:     newLimiter(cfg.UserFailures, cfg.FailureEvery, maxLimited),
		addresses: newLimiter(cfg.AddressFailures, cfg.FailureEvery, maxLimited),
	}
	if _, err := io.ReadFull(cfg.Rand, a.key[:]); err != nil {
		return nil, fmt.Errorf("draw a key: %w", err)
	}
	dummy, err := cfg.Hasher.Hash(context.Background(), "nobody's password")
	if err != nil {
		return nil, err
	}
	a.dummy = dummy
	a.nobodys = verifier{
		iterations: Iterations, salt: a.key[:saltLen], storedKey: mac(a.key[:], "stored"), serverKey: mac(a.key[:], "server"),
	}.String()
	return a, nil
}

// Authenticate verifies an attempt. It may block in the directory and for a slot
// of the hasher, until ctx ends.
func (a *Authenticator) Authenticate(ctx context.Context, t Attempt) (Identity, error) {
	by, err := a.claim(ctx, t.User)
	if err != nil {
		return Identity{}, err
	}
	err = a.prove(by, by.user.Credential, t.Password, t.Remote, func() (bool, error) {
		return a.verify(ctx, by.user.Credential, t.Password)
	})
	if err != nil {
		return Identity{}, err
	}
	return a.authorise(ctx, by.user, t.As)
}

// claimant is who somebody says they are.
type claimant struct {
	user    directory.User
	name    string // to be told apart by, also from users
	unknown bool
}

// claim looks a name up. That there is no such user is no error.
func (a *Authenticator) claim(ctx context.Context, name string) (claimant, error) {
	user, err := a.cfg.Users.Lookup(ctx, name)
	switch {
	case nobody(err):
		if addr, err := (directory.Policy{}).Parse(name); err == nil {
			name = addr.Full // one in every spelling, as a user is
		}
		return claimant{name: "?" + name, unknown: true}, nil // limited like a user that exists
	case err != nil:
		return claimant{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return claimant{user: user, name: user.Name}, nil
}

// nobody reports whether a look-up's error says for certain that there is no such user.
func nobody(err error) bool {
	return errors.Is(err, directory.ErrNoUser) || errors.Is(err, directory.ErrBadAddress)
}

// prove holds a claim to a secret that verify looks at: memory first, since it lets
// users in while others guess, then the limits.
func (a *Authenticator) prove(by claimant, credential, secret string, remote netip.Addr, verify func() (bool, error)) error {
	known := a.fingerprint(by.name, credential, secret)
	if !by.unknown && a.remembers(known) {
		return nil
	}
	if a.limited(by.name, remote) {
		return ErrLimited
	}
	ok, err := verify()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if !ok || by.unknown {
		a.failed(by.name, remote)
		return ErrFailed
	}
	a.succeeded(by.name, known)
	return nil
}

// verify takes its time for everybody.
func (a *Authenticator) verify(ctx context.Context, credential, password string) (bool, error) {
	none := credential == ""
	if none {
		credential = a.dummy
	}
	ok, _, err := a.cfg.Hasher.Verify(ctx, credential, password)
	return ok && !none, err
}

// authorise maps a user whose password was right to the account that is wanted.
func (a *Authenticator) authorise(ctx context.Context, by directory.User, as string) (Identity, error) {
	user, authorisedBy := by, ""
	if as != "" {
		other, err := a.cfg.Users.Lookup(ctx, as)
		switch {
		case nobody(err), err == nil && other.Name != by.Name && !by.MayProxy:
			return Identity{}, ErrFailed
		case err != nil:
			return Identity{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
		case other.Name != by.Name:
			user, authorisedBy = other, by.Name
		}
	}
	if user.State == directory.Frozen {
		return Identity{}, ErrFrozen
	}
	return Identity{User: user.Name, AuthorisedBy: authorisedBy, Account: user.Account, Store: user.Store}, nil
}

// fingerprint ties a success to user, credential and password, and tells nothing
// about them.
func (a *Authenticator) fingerprint(user, credential, password string) [sha256.Size]byte {
	m := hmac.New(sha256.New, a.key[:])
	for _, s := range []string{user, credential, password} {
		fmt.Fprintf(m, "%d:", len(s)) // a hash never fails
		_, _ = io.WriteString(m, s)
	}
	return [sha256.Size]byte(m.Sum(nil))
}

func (a *Authenticator) remembers(f [sha256.Size]byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.success.has(f, a.cfg.Now())
}

// limited, and failed: without a name by the address alone.
func (a *Authenticator) limited(name string, remote netip.Addr) bool {
	now := a.cfg.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	return name != "" && a.users.blocked(name, now) || remote.IsValid() && a.addresses.blocked(addressKey(remote), now)
}

func (a *Authenticator) failed(name string, remote netip.Addr) {
	now := a.cfg.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if name != "" {
		a.users.fail(name, now)
	}
	if remote.IsValid() {
		a.addresses.fail(addressKey(remote), now)
	}
}

func (a *Authenticator) succeeded(name string, known [sha256.Size]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.users.forget(name)
	if a.cfg.Remember > 0 {
		a.success.add(known, a.cfg.Now().Add(a.cfg.Remember))
	}
}
