package lmtpd

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/tandemail/tandemail/internal/accept"
	"github.com/tandemail/tandemail/internal/line"
)

// conn is one connection.
type conn struct {
	srv  *Server
	log  *slog.Logger
	lc   *line.Conn
	be   Session
	hash hash.Hash
	out  []byte // scratch for one reply

	trusted bool
	helo    string
	forward XForward

	// The transaction.
	inMail bool
	from   string
	params MailParams
	rcpts  []string
	bdat   *collector // the message so far; nil without BDAT

	// The last message's replies wait for a sign that the MTA has them.
	pending   bool
	pendingAt int64 // octets received, or in the kernel, when the replies left

	errors, junk int
	quit         bool
}

// errClose ends the connection in order, after a reply has said so.
var errClose = errors.New("connection closed by us")

// Serve implements accept.Conn.
func (c *conn) Serve(ctx context.Context) {
	defer c.end()
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("panic in an LMTP session", "err", p, "stack", string(debug.Stack()))
		}
	}()
	if err := c.begin(ctx); err != nil {
		return
	}
	for {
		err := c.next(ctx)
		if err == nil {
			continue
		}
		if c.farewell(err); !errors.Is(err, errClose) && !errors.Is(err, io.EOF) && !errors.Is(err, line.ErrInterrupted) {
			c.log.Info("LMTP connection ended", "err", err)
		}
		return
	}
}

// Interrupt implements accept.Conn.
func (c *conn) Interrupt() { c.lc.Interrupt() }

// Close implements accept.Conn.
func (c *conn) Close() error { return c.lc.Close() }

func (c *conn) begin(ctx context.Context) error {
	c.hash = sha256.New()
	remote := c.lc.Raw().RemoteAddr()
	c.trusted = c.srv.cfg.trusts(accept.Address(c.lc.Raw()))
	be, err := c.srv.cfg.Backend.NewSession(ctx, ConnInfo{Remote: remote, Local: c.lc.Raw().LocalAddr(), Trusted: c.trusted})
	if err != nil {
		c.log.Warn("LMTP session refused", "err", err)
		c.bye("4.3.2", "service not available")
		return err
	}
	c.be = be
	c.reply(220, "", c.srv.cfg.Hostname+" LMTP ready")
	return nil
}

// end settles what is open, whatever the connection ended of.
func (c *conn) end() {
	defer c.lc.Close()
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("panic at the end of an LMTP session", "err", p, "stack", string(debug.Stack()))
		}
	}()
	if c.bdat != nil {
		c.bdat.release()
		c.bdat = nil
	}
	err := c.lc.Flush()
	if c.be == nil {
		return
	}
	if c.pending {
		c.settle(err == nil && c.quit && c.handedOver())
	}
	c.be.Logout()
}

// next reads and obeys one command. An error ends the connection.
func (c *conn) next(ctx context.Context) error {
	b, err := c.lc.ReadLine()
	switch {
	case err == nil:
	case errors.Is(err, line.ErrTooLong):
		c.confirmIfProven()
		return c.bad(replyLineTooLong)
	default:
		return err
	}
	c.confirmIfProven()
	verb, arg, _ := strings.Cut(strings.TrimRight(string(b), " \t"), " ")
	return c.obey(ctx, strings.ToUpper(verb), arg)
}

// farewell tells the peer why its connection ends, if it was not told and may still
// be there.
func (c *conn) farewell(err error) {
	switch {
	case errors.Is(err, line.ErrInterrupted):
		c.bye("4.3.2", "shutting down")
	case errors.Is(err, line.ErrIdle), errors.Is(err, line.ErrSlow):
		c.bye("4.4.2", "timeout")
	case errors.Is(err, line.ErrFlood):
		c.bye("4.3.4", "far beyond the limit")
	}
}

// bye answers 421.
func (c *conn) bye(enhanced, text string) {
	c.reply(421, enhanced, c.srv.cfg.Hostname+" "+text)
	_ = c.lc.Flush() // the connection ends either way
}

// reply queues one reply line. Write errors stay in lc and come out of the next read.
func (c *conn) reply(code int, enhanced, text string) {
	c.send(&Reply{code, enhanced, text})
}

func (c *conn) send(r *Reply) {
	c.out = append(r.appendTo(c.out[:0]), '\r', '\n')
	_, _ = c.lc.Write(c.out)
}

// bad answers a command that the peer should not have sent; too many end the
// connection.
func (c *conn) bad(r *Reply) error {
	if c.errors++; c.errors > c.srv.cfg.MaxErrors {
		c.bye("4.7.0", "too many errors")
		return errClose
	}
	c.send(r)
	return nil
}

// refuse answers err, which came from the backend for what was done.
func (c *conn) refuse(err error, doing, what string) {
	r, known := replyTo(err)
	if !known {
		c.log.Warn("LMTP command failed", "command", doing, "address", what, "err", err)
	}
	c.send(r)
}

// resetTransaction forgets the open transaction, and tells the backend of it.
func (c *conn) resetTransaction() {
	open := c.inMail
	c.clearTransaction()
	if open {
		c.be.Reset()
	}
}

func (c *conn) clearTransaction() {
	if c.bdat != nil {
		c.bdat.release()
		c.bdat = nil
	}
	c.inMail, c.from, c.params = false, "", MailParams{}
	clear(c.rcpts)
	c.rcpts = c.rcpts[:0]
	c.forward = XForward{}
}
