package enrol

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tandemail/tandemail/internal/pki"
)

// Token is what a new machine is given. Who has it may join: it is a secret.
type Token struct {
	// Authority is the key of the cluster's CA: whom to believe.
	Authority pki.KeyID
	// Addresses are internal ports of machines that let others in, "host:port".
	Addresses []string
	secret    [secretSize]byte
}

const (
	secretSize = 16
	sumSize    = 4
	// tokenForm begins every token: what it is, and the version of its form.
	tokenForm = "tandemail1-"
	// maxToken bounds the text that is taken for one.
	maxToken = 4 << 10
)

// document is a token as it is written.
type document struct {
	Authority pki.KeyID `json:"a"`
	Secret    []byte    `json:"s"`
	Addresses []string  `json:"m"`
}

// NewToken draws a token's secret from random.
func NewToken(authority pki.KeyID, addresses []string, random io.Reader) (Token, error) {
	t := Token{Authority: authority, Addresses: addresses}
	if _, err := io.ReadFull(random, t.secret[:]); err != nil {
		return Token{}, fmt.Errorf("draw token: %w", err)
	}
	return t, nil
}

// Text is the token as people pass it on, in one word.
func (t Token) Text() (string, error) {
	b, err := json.Marshal(document{t.Authority, t.secret[:], t.Addresses})
	if err != nil {
		return "", fmt.Errorf("encode token: %w", err)
	}
	sum := sha256.Sum256(b)
	return tokenForm + base64.RawURLEncoding.EncodeToString(append(b, sum[:sumSize]...)), nil
}

// String hides the secret.
func (t Token) String() string { return "token " + t.Hash()[:8] }

// Hash names the token at the coordinator.
func (t Token) Hash() string { return hashOf(t.secret[:]) }

// hashOf needs no salt and no stretching: a secret is drawn, not chosen.
func hashOf(secret []byte) string {
	h := sha256.Sum256(secret)
	return hex.EncodeToString(h[:])
}

var errNoToken = errors.New("this is no token, or not all of one")

// ParseToken reads what Text wrote.
func ParseToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	body, ok := strings.CutPrefix(text, tokenForm)
	if !ok || len(text) > maxToken {
		return Token{}, errNoToken
	}
	b, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil || len(b) < sumSize {
		return Token{}, errNoToken
	}
	b, sum := b[:len(b)-sumSize], b[len(b)-sumSize:]
	if want := sha256.Sum256(b); subtle.ConstantTimeCompare(sum, want[:sumSize]) == 0 {
		return Token{}, errNoToken
	}
	var d document
	if json.Unmarshal(b, &d) != nil || len(d.Secret) != secretSize || len(d.Addresses) == 0 {
		return Token{}, errNoToken
	}
	return Token{Authority: d.Authority, Addresses: d.Addresses, secret: [secretSize]byte(d.Secret)}, nil
}
