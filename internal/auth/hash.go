package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/text/secure/precis"
)

// Params are argon2id's costs (RFC 9106).
type Params struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// DefaultParams cost about 20-40 ms; CheapParams are for trials and tests.
var (
	DefaultParams = Params{Memory: 19 << 10, Time: 2, Threads: 1}
	CheapParams   = Params{Memory: 64, Time: 1, Threads: 1}
)

// maxParams bound what a stored credential may ask of this process.
var maxParams = Params{Memory: 256 << 10, Time: 16, Threads: 16}

const (
	saltLen = 16
	keyLen  = 32
	// maxPassword bounds a password in octets; bcrypt looks at 72 of them.
	maxPassword = 1024
)

// ErrCredential: a stored credential is of no kind we know.
var ErrCredential = errors.New("credential of an unknown kind")

// Hasher makes and verifies credentials: the PHC string of argon2id, and bcrypt
// for users that came from elsewhere. At most a few run at once, because each
// takes Params.Memory.
type Hasher struct {
	params Params
	rand   io.Reader
	slots  chan struct{}
}

// NewHasher: zero params are DefaultParams, nil random is crypto/rand, 0
// concurrency is the number of CPUs.
func NewHasher(p Params, random io.Reader, concurrency int) *Hasher {
	if p == (Params{}) {
		p = DefaultParams
	}
	if random == nil {
		random = rand.Reader
	}
	if concurrency <= 0 {
		concurrency = runtime.GOMAXPROCS(0)
	}
	return &Hasher{params: p, rand: random, slots: make(chan struct{}, concurrency)}
}

// Hash makes a credential from a password. It waits for a free slot.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	pw, err := prepare(password)
	if err != nil {
		return "", err
	}
	salt := make([]byte, saltLen)
	if _, err := io.ReadFull(h.rand, salt); err != nil {
		return "", fmt.Errorf("draw a salt: %w", err)
	}
	if err := h.acquire(ctx); err != nil {
		return "", err
	}
	defer h.release()
	return phc{Params: h.params, salt: salt, key: derive(pw, salt, h.params, keyLen)}.String(), nil
}

// Verify compares in constant time. It waits for a free slot. stale is true for
// a match whose credential should be made anew with the present parameters.
func (h *Hasher) Verify(ctx context.Context, credential, password string) (ok, stale bool, err error) {
	pw, err := prepare(password)
	if err != nil {
		return false, false, nil
	}
	if err := h.acquire(ctx); err != nil {
		return false, false, err
	}
	defer h.release()
	if isBcrypt(credential) {
		err := bcrypt.CompareHashAndPassword([]byte(credential), bcryptInput(pw))
		if err != nil && !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			return false, false, fmt.Errorf("%w: %w", ErrCredential, err)
		}
		return err == nil, err == nil, nil
	}
	p, err := parsePHC(credential)
	if err != nil {
		return false, false, err
	}
	key := derive(pw, p.salt, p.Params, uint32(len(p.key)))
	ok = subtle.ConstantTimeCompare(key, p.key) == 1
	return ok, ok && p.Params != h.params, nil
}

// Verifier makes what SCRAM-SHA-256 proves a password against, "" for a password that
// its clients cannot send. It waits for a free slot.
func (h *Hasher) Verifier(ctx context.Context, password string, iterations int) (string, error) {
	pw, err := saslPrep(password)
	if err != nil {
		return "", nil
	}
	salt := make([]byte, saltLen)
	if _, err := io.ReadFull(h.rand, salt); err != nil {
		return "", fmt.Errorf("draw a salt: %w", err)
	}
	if err := h.acquire(ctx); err != nil {
		return "", err
	}
	defer h.release()
	v, err := makeVerifier(pw, salt, iterations)
	if err != nil {
		return "", err
	}
	return v.String(), nil
}

func (h *Hasher) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("verify a password: %w", err) // not even if a slot is free
	}
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait to verify a password: %w", ctx.Err())
	}
}

func (h *Hasher) release() { <-h.slots }

// prepare makes two spellings of one password the same octets (RFC 8265,
// OpaqueString): any keyboard's way of composing an accent will do.
func prepare(password string) ([]byte, error) {
	if len(password) > maxPassword {
		return nil, fmt.Errorf("password of more than %d octets", maxPassword)
	}
	b, err := precis.OpaqueString.Bytes([]byte(password))
	if err != nil || len(b) == 0 {
		return nil, errors.New("password is empty or has a character that cannot be typed")
	}
	return b, nil
}

func derive(pw, salt []byte, p Params, n uint32) []byte {
	return argon2.IDKey(pw, salt, p.Time, p.Memory, p.Threads, n)
}

func isBcrypt(c string) bool {
	return strings.HasPrefix(c, "$2a$") || strings.HasPrefix(c, "$2b$") || strings.HasPrefix(c, "$2y$")
}

// bcryptInput cuts where every other implementation does.
func bcryptInput(pw []byte) []byte { return pw[:min(len(pw), 72)] }

// phc is "$argon2id$v=19$m=19456,t=2,p=1$salt$key".
type phc struct {
	Params
	salt, key []byte
}

var b64 = base64.RawStdEncoding

func (p phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		p.Memory, p.Time, p.Threads, b64.EncodeToString(p.salt), b64.EncodeToString(p.key))
}

func parsePHC(s string) (phc, error) {
	var p phc
	bad := func(why string) (phc, error) { return phc{}, fmt.Errorf("%w: argon2id: %s", ErrCredential, why) }
	f := strings.Split(s, "$")
	if len(f) != 6 || f[0] != "" || f[1] != "argon2id" {
		return phc{}, ErrCredential
	}
	if f[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return bad("version")
	}
	if _, err := fmt.Sscanf(f[3], "m=%d,t=%d,p=%d", &p.Memory, &p.Time, &p.Threads); err != nil {
		return bad("parameters")
	}
	if p.Time == 0 || p.Threads == 0 || p.Memory > maxParams.Memory || p.Time > maxParams.Time || p.Threads > maxParams.Threads {
		return bad("parameters out of bounds")
	}
	var err1, err2 error
	p.salt, err1 = b64.DecodeString(f[4])
	p.key, err2 = b64.DecodeString(f[5])
	if err1 != nil || err2 != nil || len(p.salt) < 8 || len(p.key) < 16 || len(p.key) > 64 {
		return bad("salt or key")
	}
	return p, nil
}
