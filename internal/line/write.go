package line

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// Write gathers p, and writes to the peer when Config.WriteBuffer octets are
// gathered. The first error is final.
func (c *Conn) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && c.werr == nil; {
		n := min(len(rest), c.cfg.WriteBuffer-len(c.out))
		c.out = append(c.out, rest[:n]...)
		rest = rest[n:]
		if len(c.out) >= c.cfg.WriteBuffer {
			_ = c.Flush() // kept in c.werr
		}
	}
	if c.werr != nil {
		return 0, c.werr
	}
	return len(p), nil
}

// WriteString is Write for a string.
func (c *Conn) WriteString(s string) (int, error) {
	if len(c.out)+len(s) < c.cfg.WriteBuffer && c.werr == nil {
		c.out = append(c.out, s...)
		return len(s), nil
	}
	return c.Write([]byte(s))
}

// Flush writes what is gathered. It blocks at most Config.WriteTimeout.
func (c *Conn) Flush() error {
	if c.werr != nil || len(c.out) == 0 {
		return c.werr
	}
	if err := c.raw.SetWriteDeadline(time.Now().Add(c.cfg.WriteTimeout)); err != nil {
		c.werr = fmt.Errorf("set write deadline: %w", err)
		return c.werr
	}
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	switch {
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.werr = fmt.Errorf("write: %w", ErrSlow)
	default:
		c.werr = fmt.Errorf("write: %w", err)
	}
	return c.werr
}
