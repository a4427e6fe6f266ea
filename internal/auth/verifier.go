package auth

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Iterations of PBKDF2 for a new verifier. More is refused by clients with Cyrus'
// library.
const Iterations = 65_536

// Bounds of what a stored verifier may ask of a client (RFC 7677 4).
const (
	minIterations = 4096
	maxIterations = 10_000_000
)

// verifier is what SCRAM-SHA-256 proves a password against (RFC 5802 3). It lets
// nobody in who has it, but a guess at the password costs Iterations hashes only.
type verifier struct {
	iterations           int
	salt                 []byte
	storedKey, serverKey [sha256.Size]byte
}

const verifierScheme = "SCRAM-SHA-256"

// String is the form of RFC 5803: "SCRAM-SHA-256$iterations:salt$stored:server".
func (v verifier) String() string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", verifierScheme, v.iterations, b64(v.salt), b64(v.storedKey[:]), b64(v.serverKey[:]))
}

func parseVerifier(s string) (verifier, error) {
	var v verifier
	bad := func(why string) (verifier, error) { return verifier{}, fmt.Errorf("%w: SCRAM: %s", ErrCredential, why) }
	f := strings.Split(s, "$")
	if len(f) != 3 || f[0] != verifierScheme {
		return bad("form")
	}
	cost, salt, ok1 := strings.Cut(f[1], ":")
	stored, server, ok2 := strings.Cut(f[2], ":")
	n, err := strconv.Atoi(cost)
	if !ok1 || !ok2 || err != nil || n < minIterations || n > maxIterations {
		return bad("iterations")
	}
	v.iterations = n
	if v.salt, err = base64.StdEncoding.Strict().DecodeString(salt); err != nil || len(v.salt) < 8 || len(v.salt) > 64 {
		return bad("salt")
	}
	for _, k := range []struct {
		to   *[sha256.Size]byte
		from string
	}{{&v.storedKey, stored}, {&v.serverKey, server}} {
		b, err := base64.StdEncoding.Strict().DecodeString(k.from)
		if err != nil || len(b) != sha256.Size {
			return bad("keys")
		}
		*k.to = [sha256.Size]byte(b)
	}
	return v, nil
}

// makeVerifier derives the keys of a prepared password (RFC 5802 3).
func makeVerifier(password string, salt []byte, iterations int) (verifier, error) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return verifier{}, fmt.Errorf("derive the keys of SCRAM: %w", err)
	}
	v := verifier{iterations: iterations, salt: salt}
	clientKey := mac(salted, "Client Key")
	v.storedKey = sha256.Sum256(clientKey[:])
	v.serverKey = mac(salted, "Server Key")
	return v, nil
}

func mac(key []byte, parts ...string) [sha256.Size]byte {
	m := hmac.New(sha256.New, key)
	for _, p := range parts {
		_, _ = io.WriteString(m, p) // a hash never fails
	}
	return [sha256.Size]byte(m.Sum(nil))
}

// errUnprovable: a password that no client of SCRAM can prove.
var errUnprovable = errors.New("password is empty or has a character that SASLprep prohibits")

// saslPrep is RFC 4013, whose result clients hash: RFC 8265 would fold fewer spellings.
// Whether letters are assigned, and the rule for text from right to left, is left to
// the client: what it refuses is only never proven.
func saslPrep(password string) (string, error) {
	mapped := strings.Map(func(r rune) rune {
		switch {
		case r != ' ' && (unicode.Is(unicode.Zs, r) || r == 0x200b): // C.1.2
			return ' '
		case mappedToNothing(r):
			return -1
		}
		return r
	}, password)
	s := norm.NFKC.String(mapped)
	if s == "" || len(s) > maxPassword || strings.ContainsFunc(s, prohibited) {
		return "", errUnprovable
	}
	return s, nil
}

// mappedToNothing is table B.1 of RFC 3454.
func mappedToNothing(r rune) bool {
	switch {
	case r == 0xad, r == 0x34f, r == 0x1806, r >= 0x180b && r <= 0x180d, r == 0x200c, r == 0x200d, r == 0x2060,
		r >= 0xfe00 && r <= 0xfe0f, r == 0xfeff:
		return true
	}
	return false
}

// prohibited are the tables C.1.2 to C.9 of RFC 3454 that RFC 4013 2.3 names.
func prohibited(r rune) bool {
	switch {
	case r == ' ':
		return false
	case unicode.Is(unicode.Zs, r), unicode.IsControl(r), // C.1.2, C.2.1, most of C.2.2
		unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r), unicode.Is(unicode.Cf, r), // the rest of it, C.8, C.9
		unicode.Is(unicode.Co, r), unicode.Is(unicode.Cs, r), // C.3, C.5
		r >= 0xfdd0 && r <= 0xfdef, r&0xfffe == 0xfffe, // C.4
		r >= 0xfff9 && r <= 0xfffd, // C.6
		r >= 0x2ff0 && r <= 0x2ffb, // C.7
		r == 0x340, r == 0x341:     // C.8
		return true
	}
	return false
}
