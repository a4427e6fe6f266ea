package line

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/tandemail/tandemail/internal/compress"
)

var (
	// ErrTooLong: a line was longer than Config.MaxLine. It has been consumed;
	// the next ReadLine gives the line after it.
	ErrTooLong = errors.New("line too long")
	// ErrTooLarge: message data was larger than the limit. It has been consumed.
	ErrTooLarge = errors.New("message too large")
	// ErrFlood: the peer went on far beyond a limit. The connection is out of
	// step and can only be closed.
	ErrFlood = errors.New("peer keeps sending beyond the limit")
	// ErrIdle: nothing came within the idle timeout.
	ErrIdle = errors.New("idle for too long")
	// ErrSlow: a line or a transfer came too slowly, or the peer does not read.
	ErrSlow = errors.New("peer too slow")
	// ErrInterrupted: Interrupt was called while waiting for a line.
	ErrInterrupted = errors.New("interrupted")
)

// Config bounds a Conn. The zero value is useful.
type Config struct {
	MaxLine     int // octets of a line with its end; 8,192
	ReadBuffer  int // octets of the read buffer at first, at least 512; 4,096. It grows up to MaxLine
	WriteBuffer int // octets gathered before a write; 4,096

	IdleTimeout  time.Duration // until the first octet of a line; 30 minutes
	LineTimeout  time.Duration // from a line's first octet to its end; 1 minute
	WriteTimeout time.Duration // for one write of at most WriteBuffer octets; 1 minute

	// A transfer (literal, message data) of n octets may take Grace + n/MinRate,
	// and no pause in it may be longer than Grace.
	MinRate int64         // octets a second; 100
	Grace   time.Duration // 3 minutes

	// AutoFlush writes the gathered output whenever reading has to wait for the
	// peer. Replies to pipelined commands then leave in one write, and no
	// deadlock is possible.
	AutoFlush bool
}

func (c Config) withDefaults() Config {
	c.MaxLine = cmp.Or(c.MaxLine, 8192)
	c.ReadBuffer = cmp.Or(c.ReadBuffer, 4096)
	c.WriteBuffer = cmp.Or(c.WriteBuffer, 4096)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 30*time.Minute)
	c.LineTimeout = cmp.Or(c.LineTimeout, time.Minute)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, time.Minute)
	c.MinRate = cmp.Or(c.MinRate, 100)
	c.Grace = cmp.Or(c.Grace, 3*time.Minute)
	c.ReadBuffer = max(c.ReadBuffer, 512)
	return c
}

// Conn speaks lines over a net.Conn, which it owns.
type Conn struct {
	cfg Config
	raw net.Conn // as accepted: deadlines are set here
	nc  net.Conn // raw, or TLS over it, or what is compressed over either
	tls *tls.Conn

	buf  []byte // buf[r:w] is received and not consumed
	r, w int
	body transfer // the open literal or message data, nil if none
	got  int64    // octets received so far

	out  []byte
	werr error // the first write error; final

	interrupted atomic.Bool
}

// transfer is an octet stream inside the line stream. It is consumed before the
// next line.
type transfer interface {
	Next() ([]byte, error)
}

// New takes over nc.
func New(nc net.Conn, cfg Config) *Conn {
	cfg = cfg.withDefaults()
	return &Conn{cfg: cfg, raw: nc, nc: nc, buf: make([]byte, cfg.ReadBuffer)}
}

// SetIdleTimeout changes how long the next lines may be waited for, e.g. after
// authentication.
func (c *Conn) SetIdleTimeout(d time.Duration) { c.cfg.IdleTimeout = d }

// Raw is the connection as it was accepted, below TLS.
func (c *Conn) Raw() net.Conn { return c.raw }

// TLS is the state of the connection's TLS, nil without it.
func (c *Conn) TLS() *tls.ConnectionState {
	if c.tls == nil {
		return nil
	}
	st := c.tls.ConnectionState()
	return &st
}

// Received counts the octets received so far, consumed or not.
func (c *Conn) Received() int64 { return c.got }

// Buffered counts the octets received and not yet consumed.
func (c *Conn) Buffered() int { return c.w - c.r }

// Interrupt makes a ReadLine that waits for a line's first octet return
// ErrInterrupted, now and from now on. Lines and transfers under way are not
// disturbed.
func (c *Conn) Interrupt() {
	c.interrupted.Store(true)
	_ = c.raw.SetReadDeadline(time.Unix(1, 0)) // a closed connection needs no waking
}

// StartTLS flushes, discards all that was received in the clear and not yet
// consumed, and does the server's handshake within ctx. It returns the number
// of octets discarded: more than zero means that somebody tried to inject
// commands. After an error the connection can only be closed.
func (c *Conn) StartTLS(ctx context.Context, cfg *tls.Config) (discarded int, err error) {
	if err := c.Flush(); err != nil {
		return 0, err
	}
	discarded = c.Buffered()
	c.r, c.w, c.body = 0, 0, nil
	if err := c.raw.SetDeadline(time.Time{}); err != nil {
		return discarded, fmt.Errorf("clear deadlines for the TLS handshake: %w", err)
	}
	t := tls.Server(c.raw, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return discarded, fmt.Errorf("TLS handshake: %w", err)
	}
	c.nc, c.tls = t, t
	return discarded, nil
}

// StartDeflate flushes and compresses both directions from now on. What was received
// and not consumed is the beginning of the peer's compressed data.
func (c *Conn) StartDeflate() error {
	if err := c.Flush(); err != nil {
		return err
	}
	c.nc = compress.NewConn(c.nc, c.buf[c.r:c.w])
	c.r, c.w, c.body = 0, 0, nil
	return nil
}

// Close closes the connection below TLS, without flushing. It may be called from
// any goroutine; after an orderly end the last reply has been flushed before.
func (c *Conn) Close() error { return c.raw.Close() }
