package proxy

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"

	"github.com/tandemail/tandemail/internal/auth"
)

// maxResponse bounds a line with a response of SASL, in octets. A token may be long.
const maxResponse = 16 << 10

// byPassword stands for a mechanism where a log-in is by a command with a password.
const byPassword = "password"

// mistake is what a client did wrong in an exchange, in words for it.
type mistake string

func (m mistake) Error() string { return string(m) }

// exchange speaks a mechanism to its end, in the manner that IMAP and POP3 share (RFC
// 9051 6.2.2, RFC 5034). refused is the authenticator's; err is a mistake, or ends the
// session.
func (c *client) exchange(ctx context.Context, x auth.Exchange, response []byte) (id auth.Identity, refused, err error) {
	for {
		challenge, who, refused := x.Next(ctx, response)
		switch {
		case errors.Is(refused, auth.ErrSyntax):
			return id, nil, mistake("Authentication response cannot be read")
		case who != nil:
			return *who, nil, nil
		case refused != nil && challenge == nil:
			return id, refused, nil
		}
		if err := c.write([]byte("+ " + base64.StdEncoding.EncodeToString(challenge) + "\r\n")); err != nil {
			return id, nil, err
		}
		line, err := c.readLine()
		switch {
		case err != nil || refused != nil:
			return id, refused, err
		case bytes.Equal(line, []byte{'*'}):
			return id, nil, mistake("Authentication cancelled")
		case len(line) > maxResponse:
			return id, nil, mistake("Authentication response is too long")
		}
		var ok bool
		if response, ok = decode(line); !ok {
			return id, nil, mistake("Authentication response is not base64")
		}
	}
}

// decode is base64, and "=" for an empty initial response. It never gives nil.
func decode(b []byte) ([]byte, bool) {
	if string(b) == "=" {
		return []byte{}, true
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := base64.StdEncoding.Strict().Decode(out, b)
	return out[:n], err == nil
}

// mechanisms are those that the client may use now.
func (c *client) mechanisms() []string {
	if !c.mayAuthenticate() {
		return nil
	}
	return c.cfg.Auth.Mechanisms(c.peer)
}

// password tries to authenticate by a command with a password.
func (c *client) password(ctx context.Context, user, password string) (auth.Identity, error) {
	return c.cfg.Auth.Authenticate(ctx, auth.Attempt{User: user, Password: password, Remote: c.accountable()})
}
