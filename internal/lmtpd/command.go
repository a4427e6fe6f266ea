package lmtpd

import (
	"context"
	"fmt"
	"strings"
)

// obey runs one command (RFC 2033 section 4, RFC 5321 section 4.1).
func (c *conn) obey(ctx context.Context, verb, arg string) error {
	switch verb {
	case "LHLO":
		return c.lhlo(arg)
	case "MAIL":
		return c.mail(ctx, arg)
	case "RCPT":
		return c.rcpt(ctx, arg)
	case "DATA":
		return c.data(ctx, arg)
	case "BDAT":
		return c.bdatChunk(ctx, arg)
	case "RSET":
		c.resetTransaction()
		return c.trifle(&Reply{250, "2.0.0", "flushed"})
	case "NOOP":
		return c.trifle(&Reply{250, "2.0.0", "ok"})
	case "VRFY":
		return c.trifle(&Reply{252, "2.5.2", "try RCPT"})
	case "HELP":
		return c.trifle(&Reply{214, "2.0.0", "see RFC 2033"})
	case "XFORWARD":
		return c.xforward(arg)
	case "STARTTLS":
		return c.startTLS(ctx, arg)
	case "QUIT":
		c.quit = true
		c.reply(221, "2.0.0", c.srv.cfg.Hostname+" bye")
		return errClose
	case "HELO", "EHLO":
		return c.bad(&Reply{500, "5.5.1", "this is LMTP, say LHLO"})
	}
	return c.bad(replyUnknown)
}

// trifle answers a command that moves no mail; too many without a message
// between them end the connection.
func (c *conn) trifle(r *Reply) error {
	if err := c.countJunk(); err != nil {
		return err
	}
	c.send(r)
	return nil
}

func (c *conn) countJunk() error {
	if c.junk++; c.junk > c.srv.cfg.MaxJunk {
		c.bye("4.7.0", "too many commands without a message")
		return errClose
	}
	return nil
}

func (c *conn) lhlo(arg string) error {
	name := strings.TrimSpace(arg)
	if name == "" || len(name) > 255 || !cleanAddress(name) {
		return c.bad(replySyntax)
	}
	if err := c.countJunk(); err != nil {
		return err
	}
	c.resetTransaction()
	c.helo = name
	lines := []string{
		c.srv.cfg.Hostname, "PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING",
		"ENHANCEDSTATUSCODES", fmt.Sprintf("SIZE %d", c.srv.cfg.MaxMessage),
	}
	if c.srv.cfg.TLS != nil && c.lc.TLS() == nil {
		lines = append(lines, "STARTTLS")
	}
	if c.trusted {
		lines = append(lines, "XFORWARD "+xforwardNames)
	}
	last := len(lines) - 1
	for i, l := range lines {
		sep := "-"
		if i == last {
			sep = " "
		}
		_, _ = c.lc.WriteString("250" + sep + l + "\r\n")
	}
	return nil
}

func (c *conn) mail(ctx context.Context, arg string) error {
	switch {
	case c.helo == "":
		return c.bad(replyNeedLHLO)
	case c.inMail:
		return c.bad(replyNested)
	}
	from, rest, ok := cutPath(arg, "FROM")
	if !ok {
		return c.bad(&Reply{501, "5.1.7", "bad sender address"})
	}
	p := MailParams{Helo: c.helo, Forward: c.forward, TLS: c.lc.TLS()}
	if bad := parseMailParams(rest, &p); bad != nil {
		return c.bad(bad)
	}
	switch {
	case p.Size > c.srv.cfg.MaxMessage:
		c.send(replyTooLarge)
		return nil
	case !p.UTF8 && !isASCII(from):
		return c.bad(replyNoUTF8)
	}
	if err := c.be.Mail(ctx, from, p); err != nil {
		c.refuse(err, "MAIL", from)
		return nil
	}
	c.inMail, c.from, c.params = true, from, p
	c.reply(250, "2.1.0", "sender ok")
	return nil
}

func (c *conn) rcpt(ctx context.Context, arg string) error {
	switch {
	case !c.inMail:
		return c.bad(replyNeedMail)
	case c.bdat != nil:
		return c.bad(replyInBDAT)
	}
	to, rest, ok := cutPath(arg, "TO")
	switch {
	case !ok || to == "":
		return c.bad(&Reply{501, "5.1.3", "bad recipient address"})
	case strings.TrimSpace(rest) != "":
		return c.bad(replyBadParam)
	case !c.params.UTF8 && !isASCII(to):
		return c.bad(replyNoUTF8)
	case len(c.rcpts) >= c.srv.cfg.MaxRcpts:
		c.send(replyTooManyRcpt)
		return nil
	}
	if err := c.be.Rcpt(ctx, to); err != nil {
		c.refuse(err, "RCPT", to)
		return nil
	}
	c.rcpts = append(c.rcpts, to)
	c.reply(250, "2.1.5", "recipient ok")
	return nil
}

func (c *conn) xforward(arg string) error {
	switch {
	case !c.trusted:
		return c.bad(replyUnknown)
	case c.helo == "":
		return c.bad(replyNeedLHLO)
	case c.inMail:
		return c.bad(replyNested)
	}
	if bad := c.forward.parse(arg); bad != nil {
		return c.bad(bad)
	}
	c.reply(250, "2.0.0", "ok")
	return nil
}

// startTLS follows RFC 3207: after the handshake the session begins anew.
func (c *conn) startTLS(ctx context.Context, arg string) error {
	switch {
	case c.srv.cfg.TLS == nil:
		return c.bad(replyUnknown)
	case c.lc.TLS() != nil || arg != "":
		return c.bad(&Reply{503, "5.5.1", "not now"})
	}
	c.resetTransaction()
	c.reply(220, "2.0.0", "ready to start TLS")
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	discarded, err := c.lc.StartTLS(ctx, c.srv.cfg.TLS)
	if discarded > 0 {
		c.log.Warn("discarded plaintext that came with STARTTLS", "octets", discarded)
	}
	if err != nil {
		return err
	}
	c.helo = ""
	return nil
}
