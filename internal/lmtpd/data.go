package lmtpd

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/tandemail/tandemail/internal/line"
)

// floodFactor times Config.MaxMessage is the size of a chunk beyond which the
// connection is given up instead of the chunk being read and refused.
const floodFactor = 16

// chunks is a message, or a part of one, as it arrives.
type chunks interface {
	Next() ([]byte, error)
}

func (c *conn) data(ctx context.Context, arg string) error {
	switch {
	case arg != "":
		return c.bad(replySyntax)
	case !c.inMail:
		return c.bad(replyNeedMail)
	case c.bdat != nil:
		return c.bad(replyInBDAT)
	case len(c.rcpts) == 0:
		c.send(replyNoRcpt)
		return nil
	}
	c.reply(354, "", "go ahead, end with a dot")
	col := c.srv.newCollector(c.hash)
	defer col.release()
	if err := col.addAll(c.lc.Dot(c.srv.cfg.MaxMessage)); err != nil {
		c.be.Reset()
		return err
	}
	return c.deliver(ctx, col)
}

// addAll takes all of src. The error is the connection's; one of the message
// stays in col.err.
func (c *collector) addAll(src chunks) error {
	for {
		p, err := src.Next()
		switch {
		case err == nil:
			c.add(p)
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, line.ErrTooLarge):
			if c.err == nil {
				c.err = err
			}
			return nil
		default:
			return err
		}
	}
}

// bdatChunk takes BDAT size [LAST] (RFC 3030 section 2). The octets follow
// whatever the answer, so they are always read.
func (c *conn) bdatChunk(ctx context.Context, arg string) error {
	size, last, ok := parseBDAT(arg)
	if !ok {
		// How many octets follow is not known: going on would read mail as commands.
		c.bye("4.5.0", "bad BDAT argument")
		return errClose
	}
	if size > floodFactor*c.srv.cfg.MaxMessage {
		return line.ErrFlood
	}
	if bad := c.bdatRefusal(); bad != nil {
		c.lc.Literal(size) // skipped before the next line
		return c.bad(bad)
	}
	if c.bdat == nil {
		c.bdat = c.srv.newCollector(c.hash)
	}
	if c.bdat.raw+size > c.srv.cfg.MaxMessage && c.bdat.err == nil {
		c.bdat.err = line.ErrTooLarge
	}
	if err := c.bdat.addAll(c.lc.Literal(size)); err != nil {
		return err
	}
	if last {
		col := c.bdat
		c.bdat = nil
		defer col.release()
		return c.deliver(ctx, col)
	}
	if c.bdat.err != nil {
		c.refuse(c.bdat.err, "BDAT", "")
		return nil
	}
	c.reply(250, "2.0.0", strconv.FormatInt(size, 10)+" octets received")
	return nil
}

func (c *conn) bdatRefusal() *Reply {
	switch {
	case !c.inMail:
		return replyNeedMail
	case len(c.rcpts) == 0:
		return replyNoRcpt
	}
	return nil
}

func parseBDAT(arg string) (size int64, last, ok bool) {
	f := strings.Fields(arg)
	if len(f) == 0 || len(f) > 2 || len(f) == 2 && !strings.EqualFold(f[1], "LAST") {
		return 0, false, false
	}
	n, err := strconv.ParseUint(f[0], 10, 62)
	return int64(n), len(f) == 2, err == nil
}
