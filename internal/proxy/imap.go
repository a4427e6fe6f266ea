package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tandemail/tandemail/internal/imapd"
	"github.com/tandemail/tandemail/internal/imapwire"
)

// imap is the dialect of IMAP (RFC 3501, RFC 9051).
type imap struct {
	collector  *imapwire.Collector
	compressed bool
}

func newIMAP() dialect { return &imap{} }

// Bounds before log-in. The longest command there is ID with 30 names and values of
// 30 and 1,024 octets (RFC 2971 3.3). 4,096 is LITERAL-'s (RFC 7888).
var limitsBefore = imapwire.Limits{
	Line: 36 << 10, String: 4096, Message: 4096, Memory: 4096, Literals: 8, NonSync: 4096,
}

const (
	lineAfter     = 64 << 10
	literalMemory = 256 << 10
)

// greet implements dialect.
func (d *imap) greet(c *client) {
	d.reset()
	d.say(c, "*", imapwire.OK, d.capability(c), "Tandemail ready")
}

// reset readies the dialect for a client that is not logged in.
func (d *imap) reset() { d.collector = imapwire.NewCollector(limitsBefore, nil) }

// say gathers a status response. A write error stays in the connection, and comes
// out of the next read.
func (d *imap) say(c *client, tag, status, code, text string) {
	_ = c.write(imapwire.AppendTagged(nil, tag, status, code, text))
}

// capability is what a client may use before it is logged in.
func (d *imap) capability(c *client) string {
	list := "CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL- SASL-IR ID ENABLE IDLE"
	if c.tls() == nil && c.cfg.TLS != nil {
		list += " STARTTLS"
	}
	if !c.mayAuthenticate() {
		return list + " LOGINDISABLED"
	}
	return list + " AUTH=" + strings.Join(c.mechanisms(), " AUTH=")
}

// capabilityAfter is what it may use afterwards.
func (d *imap) capabilityAfter() string {
	list := "CAPABILITY " + strings.Join(imapd.Capabilities(), " ")
	if d.compressed {
		return list
	}
	return list + " COMPRESS=DEFLATE UNAUTHENTICATE"
}

// begin readies the dialect for what comes after the log-in.
func (d *imap) begin(c *client) {
	d.collector = imapwire.NewCollector(
		imapwire.Limits{Line: lineAfter, Message: c.cfg.MaxMessage, Memory: literalMemory},
		func(size int64) (imapwire.Spool, error) { return c.cfg.Spool.Create(size) },
	)
}

// next implements dialect.
func (d *imap) next(_ context.Context, c *client) (*flight, error) {
	for {
		raw, err := d.read(c)
		if err != nil {
			return nil, err
		}
		tag, name := raw.Tag(), raw.Name()
		switch {
		case tag == "":
			err = d.bad(c, "*", "A command begins with a tag and a space")
		case name == "LOGOUT":
			return nil, d.logout(c, tag)
		case name == "CAPABILITY":
			_ = c.write([]byte("* " + d.capabilityAfter() + "\r\n"))
			d.say(c, tag, imapwire.OK, "", "CAPABILITY completed")
		case name == "COMPRESS":
			err = d.compress(c, tag, raw)
		case name == "UNAUTHENTICATE":
			err = d.unauthenticate(c, tag, raw)
		case name == "LOGIN", name == "AUTHENTICATE", name == "STARTTLS":
			err = d.bad(c, tag, "Already logged in")
		default:
			c.number++
			return &flight{number: c.number, tag: tag, raw: raw, idle: name == "IDLE"}, nil
		}
		if err = errors.Join(err, raw.Close()); err != nil {
			return nil, err
		}
	}
}

func (d *imap) logout(c *client, tag string) error {
	d.say(c, "*", "BYE", "", "Logging out")
	d.say(c, tag, imapwire.OK, "", "LOGOUT completed")
	return errLogout
}

// compress is COMPRESS (RFC 4978).
func (d *imap) compress(c *client, tag string, raw imapwire.Raw) error {
	words := strings.Fields(string(raw.Text))
	switch {
	case len(raw.Literals) > 0 || len(words) != 3:
		return d.bad(c, tag, "COMPRESS takes a mechanism")
	case !strings.EqualFold(words[2], "DEFLATE"):
		d.say(c, tag, imapwire.NO, imapwire.CodeCannot, "Mechanism is not supported")
		return c.blunder()
	case d.compressed:
		d.say(c, tag, imapwire.NO, "COMPRESSIONACTIVE", "DEFLATE is already active")
		return c.blunder()
	}
	d.compressed = true
	d.say(c, tag, imapwire.OK, "", "DEFLATE active")
	return c.lc.StartDeflate()
}

// unauthenticate is UNAUTHENTICATE (RFC 8437): the client is what it was before the
// log-in, under the same TLS.
func (d *imap) unauthenticate(c *client, tag string, raw imapwire.Raw) error {
	if len(raw.Literals) > 0 || len(strings.Fields(string(raw.Text))) != 2 {
		return d.bad(c, tag, "UNAUTHENTICATE takes no arguments")
	}
	if d.compressed {
		d.say(c, tag, imapwire.NO, imapwire.CodeCannot, "Not possible on a compressed connection")
		return c.blunder()
	}
	c.logOut()
	d.reset()
	c.lc.SetIdleTimeout(c.cfg.LoginTimeout)
	d.say(c, tag, imapwire.OK, d.capability(c), "Unauthenticated")
	return errUnauthenticated
}

// bad answers what is no command; too many in a row end the session.
func (d *imap) bad(c *client, tag, text string) error {
	d.say(c, tag, imapwire.BAD, "", text)
	return c.blunder()
}

// read reads a whole command. Those that break a limit it answers itself.
func (d *imap) read(c *client) (imapwire.Raw, error) {
	for {
		step, err := d.readLine(c)
		var refusal *imapwire.SyntaxError
		switch {
		case step == imapwire.Refused && errors.As(err, &refusal):
			err = d.refuse(c, refusal)
		case step == imapwire.Whole:
			c.lc.SetIdleTimeout(d.patience(c))
			return d.collector.Take(), nil
		case err == nil:
			c.lc.SetIdleTimeout(commandTimeout) // the rest of the command follows
			continue
		}
		c.lc.SetIdleTimeout(d.patience(c))
		if err != nil {
			return imapwire.Raw{}, err
		}
	}
}

// refuse answers a command that broke a limit.
func (d *imap) refuse(c *client, e *imapwire.SyntaxError) error {
	tag, status := e.Tag, imapwire.BAD
	if tag == "" {
		tag = "*"
	}
	if e.No {
		status = imapwire.NO
	}
	d.say(c, tag, status, e.Code, e.Text)
	return c.blunder()
}

// readLine takes in a line, and the literal that it announces. The step is what the
// collector wants after that.
func (d *imap) readLine(c *client) (imapwire.Step, error) {
	b, err := c.readLine()
	if err != nil {
		return imapwire.NeedMore, err
	}
	a, literal := imapwire.AnnouncementAt(b)
	if _, step, err := d.feed(b); err != nil {
		return step, err
	}
	_, step, err := d.feed([]byte("\r\n"))
	if err != nil || step == imapwire.Whole || !literal {
		return step, err
	}
	if step == imapwire.NeedContinue {
		if err := c.write([]byte("+ go on\r\n")); err != nil {
			return step, err
		}
		if err := c.flush(); err != nil {
			return step, err
		}
	}
	return imapwire.NeedMore, d.readLiteral(c, a.Size)
}

func (d *imap) readLiteral(c *client, size int64) error {
	l := c.lc.Literal(size)
	for left := size; left > 0; {
		p, err := l.Next()
		if err != nil {
			return c.readError(err)
		}
		left -= int64(len(p))
		if _, _, err := d.feed(p); err != nil {
			return err
		}
	}
	return nil
}

// feed gives octets to the collector. Its errors that are no refusal end the session.
func (d *imap) feed(p []byte) (int, imapwire.Step, error) {
	n, step, err := d.collector.Feed(p)
	if err == nil || step == imapwire.Refused {
		return n, step, err
	}
	if errors.Is(err, imapwire.ErrFlood) {
		return n, step, &byeError{byeFlood, err}
	}
	return n, step, &byeError{byeSpool, fmt.Errorf("take in command: %w", err)}
}

// unfinished implements dialect: such a unit ends with a literal's announcement.
func (d *imap) unfinished(unit []byte) bool {
	b, ok := bytes.CutSuffix(unit, []byte{'\n'})
	if !ok {
		return true
	}
	_, announced := imapwire.AnnouncementAt(b[max(0, len(b)-64):])
	return announced
}

// understood implements dialect.
func (d *imap) understood(tagged []byte) bool {
	_, rest, _ := bytes.Cut(tagged, []byte{' '})
	return !bytes.HasPrefix(rest, []byte(imapwire.BAD))
}

// end implements dialect.
func (d *imap) end(c *client) {
	if d.collector == nil {
		return
	}
	if err := d.collector.Close(); err != nil {
		c.log.Warn("spooled octets could not be removed", "err", err)
	}
}

// alive implements dialect.
func (d *imap) alive(tag string) []byte {
	switch {
	case tag == "":
		return []byte("* OK Still here\r\n")
	case strings.Contains(tag, "]"): // RFC 9585 4: it would end the code
		tag = "NIL"
	default:
		tag = `"` + tag + `"` // it has no octet that would have to be escaped
	}
	return imapwire.AppendTagged(nil, "*", imapwire.OK, "INPROGRESS ("+tag+" NIL NIL)", "Still here")
}

// bye implements dialect.
func (d *imap) bye(b bye) []byte {
	return imapwire.AppendTagged(nil, "*", "BYE", byes[b].code, byes[b].text)
}
