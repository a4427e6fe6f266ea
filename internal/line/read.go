package line

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"
)

// maxSkip bounds what is swallowed of one over-long line.
const maxSkip = 16 << 20

// ReadLine returns the next line without its end. The slice is valid until the
// next read from c. It first consumes what is left of an open transfer.
//
// Errors: ErrTooLong leaves c usable; io.EOF means that the peer closed between
// two lines, io.ErrUnexpectedEOF inside one; ErrIdle, ErrSlow, ErrFlood,
// ErrInterrupted and errors of the connection.
func (c *Conn) ReadLine() ([]byte, error) {
	if err := c.finishBody(); err != nil {
		return nil, err
	}
	var until time.Time // by then the line must be whole
	seen := 0           // octets of c.buf[c.r:c.w] without LF
	for {
		if i := bytes.IndexByte(c.buf[c.r+seen:c.w], '\n'); i >= 0 {
			return c.takeLine(seen + i + 1)
		}
		seen = c.w - c.r
		if seen >= c.cfg.MaxLine {
			return nil, c.skipLine(until)
		}
		if err := c.fillLine(seen, &until); err != nil {
			return nil, err
		}
	}
}

// takeLine consumes n octets, the last of which is LF.
func (c *Conn) takeLine(n int) ([]byte, error) {
	b := c.buf[c.r : c.r+n-1]
	c.r += n
	if n > c.cfg.MaxLine {
		return nil, ErrTooLong
	}
	if len(b) > 0 && b[len(b)-1] == '\r' {
		b = b[:len(b)-1]
	}
	return b, nil
}

// fillLine waits for more of a line of which seen octets are there.
func (c *Conn) fillLine(seen int, until *time.Time) error {
	now := time.Now()
	if seen == 0 {
		return c.fill(now.Add(c.cfg.IdleTimeout), true)
	}
	if until.IsZero() {
		*until = now.Add(c.cfg.LineTimeout)
	}
	return c.fill(*until, false)
}

// skipLine consumes up to and with the next LF.
func (c *Conn) skipLine(until time.Time) error {
	if until.IsZero() {
		until = time.Now().Add(c.cfg.LineTimeout)
	}
	for skipped := 0; skipped < maxSkip; {
		if i := bytes.IndexByte(c.buf[c.r:c.w], '\n'); i >= 0 {
			c.r += i + 1
			return ErrTooLong
		}
		skipped += c.w - c.r
		c.r, c.w = 0, 0
		if err := c.fill(until, false); err != nil {
			return err
		}
	}
	return ErrFlood
}

func (c *Conn) finishBody() error {
	for c.body != nil {
		_, err := c.body.Next()
		switch {
		case err == nil, errors.Is(err, io.EOF), errors.Is(err, ErrTooLarge):
		default:
			return err
		}
	}
	return nil
}

// fill receives at least one octet behind buf[r:w] by the given time.
func (c *Conn) fill(by time.Time, betweenLines bool) error {
	if c.cfg.AutoFlush {
		if err := c.Flush(); err != nil {
			return err
		}
	}
	c.room()
	n, err := c.receive(c.buf[c.w:], by, betweenLines)
	c.w += n
	if err != nil && errors.Is(err, io.EOF) && !betweenLines {
		return io.ErrUnexpectedEOF
	}
	return err
}

// room makes space behind buf[r:w]: the octets move to the front, or the buffer
// grows. Callers never hold more than max(MaxLine, ReadBuffer) octets back.
func (c *Conn) room() {
	switch {
	case c.r == c.w:
		c.r, c.w = 0, 0
	case c.w < len(c.buf):
		return
	case c.r > 0:
		copy(c.buf, c.buf[c.r:c.w])
		c.r, c.w = 0, c.w-c.r
	default:
		grown := make([]byte, max(len(c.buf)+1, min(2*len(c.buf), c.cfg.MaxLine)))
		copy(grown, c.buf)
		c.buf = grown
	}
}

// receive reads into p. It returns no error together with octets.
func (c *Conn) receive(p []byte, by time.Time, betweenLines bool) (int, error) {
	for {
		if err := c.raw.SetReadDeadline(by); err != nil {
			return 0, err
		}
		if betweenLines && c.interrupted.Load() {
			return 0, ErrInterrupted
		}
		n, err := c.nc.Read(p)
		c.got += int64(n)
		switch {
		case n > 0:
			return n, nil
		case err == nil:
			return 0, io.ErrNoProgress
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, err
		case betweenLines && c.interrupted.Load():
			return 0, ErrInterrupted
		case time.Now().Before(by):
			continue // an Interrupt between our two calls: not meant for this read
		case betweenLines:
			return 0, ErrIdle
		default:
			return 0, ErrSlow
		}
	}
}

// pace is the time a transfer may take.
type pace struct {
	start time.Time
	n     int64
}

func (c *Conn) fillPaced(p *pace) error {
	return c.fill(c.due(p), false)
}

// due says by when the next octet of p must have come.
func (c *Conn) due(p *pace) time.Time {
	now := time.Now()
	if p.start.IsZero() {
		p.start = now
	}
	stall := now.Add(c.cfg.Grace)
	total := p.start.Add(c.cfg.Grace + time.Duration(float64(p.n)/float64(c.cfg.MinRate)*float64(time.Second)))
	if total.Before(stall) {
		return total
	}
	return stall
}
