package auth

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

// ErrSyntax: a client's SASL response is not well formed.
var ErrSyntax = errors.New("malformed authentication response")

// Mechanisms are the SASL mechanisms that Start knows, in the order of preference.
func Mechanisms() []string { return []string{"PLAIN", "LOGIN"} }

// Exchange is the server's side of one SASL exchange, on decoded octets: base64,
// the initial response, "*" and line lengths are the protocol's.
type Exchange interface {
	// Next takes the client's response and returns the challenge to send, or done.
	// The first call may have a nil response if the client sent no initial one; an
	// empty initial response is not nil. ErrSyntax ends the exchange.
	Next(response []byte) (challenge []byte, done bool, err error)
	// Attempt is what the client said; complete when Next said done. The caller
	// adds the remote address.
	Attempt() Attempt
}

// Start begins an exchange; false if the mechanism, in upper case, is unknown.
func Start(mechanism string) (Exchange, bool) {
	switch mechanism {
	case "PLAIN":
		return &plain{}, true
	case "LOGIN":
		return &login{}, true
	}
	return nil, false
}

// plain is RFC 4616.
type plain struct{ attempt Attempt }

func (p *plain) Next(response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 || !fits(parts...) || len(parts[1]) == 0 {
		return nil, false, fmt.Errorf("PLAIN: %w", ErrSyntax)
	}
	p.attempt = Attempt{As: string(parts[0]), User: string(parts[1]), Password: string(parts[2])}
	return nil, true, nil
}

func (p *plain) Attempt() Attempt { return p.attempt }

// login is the obsolete mechanism that Outlook and old MTAs insist on
// (draft-murchison-sasl-login).
type login struct {
	step    int
	attempt Attempt
}

func (l *login) Next(response []byte) ([]byte, bool, error) {
	if response == nil && l.step == 0 {
		return []byte("Username:"), false, nil
	}
	if !fits(response) || bytes.IndexByte(response, 0) >= 0 {
		return nil, false, fmt.Errorf("LOGIN: %w", ErrSyntax)
	}
	l.step++
	switch {
	case l.step == 1 && len(response) > 0:
		l.attempt.User = string(response)
		return []byte("Password:"), false, nil
	case l.step == 2:
		l.attempt.Password = string(response)
		return nil, true, nil
	}
	return nil, false, fmt.Errorf("LOGIN: %w", ErrSyntax)
}

func (l *login) Attempt() Attempt { return l.attempt }

func fits(fields ...[]byte) bool {
	for _, f := range fields {
		if len(f) > maxPassword || !utf8.Valid(f) {
			return false
		}
	}
	return true
}

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
