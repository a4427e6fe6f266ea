package proxy

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/tandemail/tandemail/internal/auth"
	"github.com/tandemail/tandemail/internal/pop3d"
)

// maxAuth bounds a line before log-in: a base64 response of SASL may be long (RFC 5034 4).
const maxAuth = 8 << 10

// login implements dialect: the AUTHORIZATION state.
func (d *pop3) login(ctx context.Context, c *client) error {
	for c.user.User == "" {
		b, err := c.readLine()
		if err != nil {
			return err
		}
		if len(b) > maxAuth {
			err = d.bad(c, "Line is too long")
		} else {
			err = d.obey(ctx, c, b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *pop3) obey(ctx context.Context, c *client, line []byte) error {
	_, args, _ := bytes.Cut(line, []byte{' '})
	switch pop3d.Name(line) {
	case "CAPA":
		d.capability(c)
	case "UTF8":
		d.say(c, "+OK Messages are given as they are, in UTF-8 or not")
	case "QUIT":
		d.say(c, "+OK Bye")
		return errLogout
	case "STLS":
		return d.startTLS(ctx, c)
	case "USER":
		return d.userCommand(c, string(args))
	case "PASS":
		return d.pass(ctx, c, string(args))
	case "AUTH":
		return d.authenticate(ctx, c, strings.Fields(string(args)))
	default:
		return d.bad(c, "Unknown command, or not logged in")
	}
	return nil
}

// startTLS is STLS (RFC 2595). What was said before does not count any more.
func (d *pop3) startTLS(ctx context.Context, c *client) error {
	switch {
	case c.tls() != nil:
		return d.bad(c, "TLS is already active")
	case c.cfg.TLS == nil:
		return d.bad(c, "TLS is not available")
	}
	d.say(c, "+OK Begin TLS negotiation now")
	d.user = ""
	return c.startTLS(ctx)
}

// private answers a client that may not send a password.
func (d *pop3) private(c *client) error {
	return d.bad(c, "[AUTH] Passwords are accepted under TLS only")
}

// userCommand is USER. Whether there is such a user is told by PASS only.
func (d *pop3) userCommand(c *client, user string) error {
	switch {
	case !c.mayAuthenticate():
		return d.private(c)
	case user == "":
		return d.bad(c, "USER takes a user name")
	}
	d.user = user
	d.say(c, "+OK")
	return nil
}

// pass is PASS. A password may have spaces (RFC 1939 7).
func (d *pop3) pass(ctx context.Context, c *client, password string) error {
	user := d.user
	d.user = ""
	switch {
	case !c.mayAuthenticate():
		return d.private(c)
	case user == "":
		return d.bad(c, "USER comes first")
	}
	id, err := c.password(ctx, user, password)
	return d.enter(ctx, c, byPassword, id, err)
}

// authenticate is AUTH (RFC 5034), which tells the mechanisms if none is named.
func (d *pop3) authenticate(ctx context.Context, c *client, words []string) error {
	switch {
	case !c.mayAuthenticate():
		return d.private(c)
	case len(words) == 0:
		d.say(c, "+OK\r\n"+strings.Join(c.mechanisms(), "\r\n")+"\r\n.")
		return nil
	case len(words) > 2:
		return d.bad(c, "AUTH takes a mechanism and an initial response")
	}
	mechanism := strings.ToUpper(words[0])
	x, ok := c.cfg.Auth.Start(mechanism, c.peer)
	if !ok {
		return d.bad(c, "Mechanism is not supported")
	}
	var response []byte
	if len(words) == 2 {
		if response, ok = decode([]byte(words[1])); !ok {
			return d.bad(c, "Initial response is not base64")
		}
	}
	id, refused, err := c.exchange(ctx, x, response)
	if m, ok := errors.AsType[mistake](err); ok {
		return d.bad(c, string(m))
	}
	if err != nil {
		return err
	}
	return d.enter(ctx, c, mechanism, id, refused)
}

// pop3Refusals is what a client hears of a log-in that failed: the first that
// matches. What is not known is temporary.
var pop3Refusals = []struct {
	err  error
	line string
}{
	{auth.ErrToken, "-ERR [AUTH] Token or certificate is not accepted"},
	{auth.ErrFailed, "-ERR [AUTH] User name or password is wrong"},
	{auth.ErrLimited, "-ERR [SYS/TEMP] Too many failed log-ins, try again later"},
	{auth.ErrFrozen, "-ERR [SYS/TEMP] Account is not available for the moment"},
	{errUserLimit, "-ERR [SYS/TEMP] Too many sessions of this user"},
	{errInUse, "-ERR [IN-USE] Mailbox is in use by another session"},
	{errElsewhere, "-ERR [SYS/TEMP] Mailbox is served by another machine"},
	{errNoMaster, "-ERR [SYS/TEMP] Mailbox is not available, try again later"},
	{nil, "-ERR [SYS/TEMP] Authentication is not available, try again later"},
}

// enter logs in who was authenticated, and answers.
func (d *pop3) enter(ctx context.Context, c *client, mechanism string, id auth.Identity, err error) error {
	err = c.enter(ctx, mechanism, id, err)
	if err == nil {
		d.say(c, "+OK Logged in")
		return nil
	}
	bye, ending := errors.AsType[*byeError](err)
	if ending {
		err = bye.err
	}
	for _, r := range pop3Refusals {
		if r.err == nil || errors.Is(err, r.err) {
			d.say(c, r.line)
			break
		}
	}
	if ending {
		return bye
	}
	return nil
}
