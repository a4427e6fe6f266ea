package proxy

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/pop3d"
)

// pop3 is the dialect of POP3 (RFC 1939, RFC 2449).
type pop3 struct {
	user string // of USER, before PASS
	quit bool   // QUIT has been given to the master
}

func newPOP3() dialect { return &pop3{} }

// say gathers a line. A write error stays in the connection, and comes out of the
// next read.
func (d *pop3) say(c *client, text string) { _ = c.write([]byte(text + "\r\n")) }

// bad answers what is no command; too many in a row end the session.
func (d *pop3) bad(c *client, text string) error {
	d.say(c, "-ERR "+text)
	return c.blunder()
}

// greet implements dialect.
func (d *pop3) greet(c *client) { d.say(c, "+OK Tandemail ready") }

// capability is CAPA (RFC 2449), the same in both states but for what begins a session.
func (d *pop3) capability(c *client) {
	d.say(c, "+OK Capabilities follow\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nUTF8 USER\r\nEXPIRE NEVER\r\nIMPLEMENTATION Tandemail")
	if c.user.User == "" && c.tls() == nil && c.cfg.TLS != nil {
		d.say(c, "STLS")
	}
	if c.user.User == "" && c.mayAuthenticate() {
		d.say(c, "USER\r\nSASL "+strings.Join(c.mechanisms(), " "))
	}
	d.say(c, ".")
}

// next implements dialect.
func (d *pop3) next(_ context.Context, c *client) (*flight, error) {
	for {
		if d.quit {
			return nil, errLogout
		}
		b, err := c.readLine()
		if err != nil {
			return nil, err
		}
		name := pop3d.Name(b)
		switch {
		case len(b) > pop3d.MaxLine-2:
			err = d.bad(c, "Line is too long")
		case name == "CAPA":
			d.capability(c)
		case pop3d.Known(b):
			d.quit = name == "QUIT"
			c.number++
			return &flight{number: c.number, raw: imapwire.Raw{Text: bytes.Clone(b)}}, nil
		case name == "USER", name == "PASS", name == "AUTH", name == "STLS", name == "UTF8":
			err = d.bad(c, "Already logged in")
		default:
			err = d.bad(c, "Unknown command")
		}
		if err != nil {
			return nil, err
		}
	}
}

// unfinished implements dialect: only the first line of a long RETR or TOP has no
// final dot in its unit.
func (d *pop3) unfinished(unit []byte) bool {
	return !bytes.HasSuffix(unit, []byte("\r\n.\r\n")) && !bytes.Equal(unit, []byte(".\r\n"))
}

// understood implements dialect: what is no command does not come as far as a master.
func (d *pop3) understood([]byte) bool { return true }

// alive implements dialect: POP3 has nothing that may stand between responses.
func (d *pop3) alive(string) []byte { return nil }

// end implements dialect.
func (d *pop3) end(*client) {}

// bye implements dialect.
func (d *pop3) bye(b bye) []byte {
	return fmt.Appendf(nil, "-ERR %s%s\r\n", pop3Codes[byes[b].code], byes[b].text)
}

// pop3Codes are RFC 2449's and RFC 3206's for IMAP's (RFC 5530).
var pop3Codes = map[string]string{
	imapwire.CodeUnavailable: "[SYS/TEMP] ",
	imapwire.CodeLimit:       "[SYS/TEMP] ",
	"SERVERBUG":              "[SYS/PERM] ",
	imapwire.CodeInUse:       "[IN-USE] ",
}
