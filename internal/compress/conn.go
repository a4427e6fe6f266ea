package compress

import (
	"bytes"
	"io"
	"net"

	"github.com/klauspost/compress/flate"
)

// history is how much of what was sent the next write is compressed with.
const history = 8 << 10

// Conn is a connection whose two directions are DEFLATE data from now on (RFC 4978).
// Between writes it keeps 8 KiB of what was sent and no compressor, which would take
// hundreds of KiB: most connections are idle. Every Write is flushed.
type Conn struct {
	net.Conn
	in   *Inflater
	sent []byte // the last octets, at most history
	out  bytes.Buffer
}

// NewConn begins to compress on nc. received is what of the peer's compressed data has
// been read already.
func NewConn(nc net.Conn, received []byte) *Conn {
	return &Conn{Conn: nc, in: NewInflater(io.MultiReader(bytes.NewReader(bytes.Clone(received)), nc))}
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) { return c.in.Read(p) }

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	c.out.Reset()
	if err := flate.StatelessDeflate(&c.out, p, false, c.sent); err != nil {
		return 0, err
	}
	c.sent = append(c.sent, p[max(0, len(p)-history):]...)
	if over := len(c.sent) - history; over > 0 {
		c.sent = append(c.sent[:0], c.sent[over:]...)
	}
	_, err := c.Conn.Write(c.out.Bytes())
	if c.out.Cap() > 2*history {
		c.out = bytes.Buffer{}
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}
