package proxy

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/auth"
	"github.com/tandemail/tandemail/internal/imapwire"
)

// login implements dialect: the not authenticated state.
func (d *imap) login(ctx context.Context, c *client) error {
	for c.user.User == "" {
		raw, err := d.read(c)
		if err != nil {
			return err
		}
		if err := d.obey(ctx, c, raw); err != nil {
			return err
		}
	}
	d.begin(c)
	return nil
}

func (d *imap) patience(c *client) time.Duration {
	if c.user.User == "" {
		return c.cfg.LoginTimeout
	}
	return c.cfg.IdleTimeout
}

func (d *imap) obey(ctx context.Context, c *client, raw imapwire.Raw) error {
	tag := raw.Tag()
	if tag == "" {
		return d.bad(c, "*", "A command begins with a tag and a space")
	}
	switch raw.Name() {
	case "CAPABILITY":
		_ = c.write([]byte("* " + d.capability(c) + "\r\n"))
		d.say(c, tag, imapwire.OK, "", "CAPABILITY completed")
	case "NOOP":
		d.say(c, tag, imapwire.OK, "", "NOOP completed")
	case "ID":
		return d.id(c, tag, raw)
	case "LOGOUT":
		return d.logout(c, tag)
	case "STARTTLS":
		return d.startTLS(ctx, c, tag)
	case "LOGIN":
		return d.loginCommand(ctx, c, tag, raw)
	case "AUTHENTICATE":
		return d.authenticate(ctx, c, tag, raw)
	default:
		return d.bad(c, tag, "Unknown command, or not logged in")
	}
	return nil
}

func (d *imap) id(c *client, tag string, raw imapwire.Raw) error {
	if _, err := imapwire.Parse(raw, false); err != nil {
		return d.bad(c, tag, err.Error())
	}
	_ = c.write([]byte("* ID (\"name\" \"Tandemail\")\r\n"))
	d.say(c, tag, imapwire.OK, "", "ID completed")
	return nil
}

func (d *imap) startTLS(ctx context.Context, c *client, tag string) error {
	switch {
	case c.tls() != nil:
		return d.bad(c, tag, "TLS is already active")
	case c.cfg.TLS == nil:
		return d.bad(c, tag, "TLS is not available")
	}
	d.say(c, tag, imapwire.OK, "", "Begin TLS negotiation now")
	return c.startTLS(ctx)
}

// loginCommand is LOGIN (RFC 9051 6.2.3).
func (d *imap) loginCommand(ctx context.Context, c *client, tag string, raw imapwire.Raw) error {
	args, ok := astrings(raw, "LOGIN", 2)
	switch {
	case !ok:
		return d.bad(c, tag, "LOGIN takes a user name and a password")
	case !c.mayAuthenticate():
		d.say(c, tag, imapwire.NO, "PRIVACYREQUIRED", "Passwords are accepted under TLS only")
		return c.blunder()
	}
	id, err := c.password(ctx, args[0], args[1])
	return d.enter(ctx, c, tag, byPassword, id, err)
}

// authenticate is AUTHENTICATE with an initial response or without (RFC 4959).
func (d *imap) authenticate(ctx context.Context, c *client, tag string, raw imapwire.Raw) error {
	words := strings.Fields(string(raw.Text))
	if len(raw.Literals) > 0 || len(words) < 3 || len(words) > 4 {
		return d.bad(c, tag, "AUTHENTICATE takes a mechanism and an initial response")
	}
	if !c.mayAuthenticate() {
		d.say(c, tag, imapwire.NO, "PRIVACYREQUIRED", "Passwords are accepted under TLS only")
		return c.blunder()
	}
	mechanism := strings.ToUpper(words[2])
	x, ok := c.cfg.Auth.Start(mechanism, c.peer)
	if !ok {
		d.say(c, tag, imapwire.NO, imapwire.CodeCannot, "Mechanism is not supported")
		return c.blunder()
	}
	var response []byte
	if len(words) == 4 {
		if response, ok = decode([]byte(words[3])); !ok {
			return d.bad(c, tag, "Initial response is not base64")
		}
	}
	id, refused, err := c.exchange(ctx, x, response)
	if m, ok := errors.AsType[mistake](err); ok {
		return d.bad(c, tag, string(m))
	}
	if err != nil {
		return err
	}
	return d.enter(ctx, c, tag, mechanism, id, refused)
}

// refusals is what a client hears of a log-in that failed: the first that matches.
// What is not known is temporary.
var refusals = []struct {
	err        error
	code, text string
}{
	{auth.ErrToken, "AUTHENTICATIONFAILED", "Token or certificate is not accepted"},
	{auth.ErrFailed, "AUTHENTICATIONFAILED", "User name or password is wrong"},
	{auth.ErrLimited, imapwire.CodeUnavailable, "Too many failed log-ins, try again later"},
	{auth.ErrFrozen, imapwire.CodeInUse, "Account is not available for the moment"},
	{errUserLimit, imapwire.CodeLimit, "Too many sessions of this user"},
	{errElsewhere, imapwire.CodeUnavailable, "Mailbox is served by another machine"},
	{errNoMaster, imapwire.CodeUnavailable, "Mailbox is not available, try again later"},
	{nil, imapwire.CodeUnavailable, "Authentication is not available, try again later"},
}

// enter logs in who was authenticated, and answers.
func (d *imap) enter(ctx context.Context, c *client, tag, mechanism string, id auth.Identity, err error) error {
	err = c.enter(ctx, mechanism, id, err)
	if err == nil {
		d.say(c, tag, imapwire.OK, d.capabilityAfter(), "Logged in")
		return nil
	}
	bye, ending := errors.AsType[*byeError](err)
	if ending {
		err = bye.err
	}
	for _, r := range refusals {
		if r.err == nil || errors.Is(err, r.err) {
			d.say(c, tag, imapwire.NO, r.code, r.text)
			break
		}
	}
	if ending {
		return bye
	}
	return nil
}
