package line

import (
	"bytes"
	"io"
)

// floodFactor says how often its limit message data may be in length before the
// connection is given up instead of read to the end.
const floodFactor = 16

// Dot reads message data up to CRLF "." CRLF and removes the dots that were added
// for transparency (RFC 5321 section 4.5.2). Only CRLF begins a line: see the
// package comment. The CRLF before the last dot is content.
type Dot struct {
	c     *Conn
	limit int64
	pace  pace
	n     int64 // octets after removal of dots
	bol   bool  // at the beginning of a line
	end   error // io.EOF or ErrTooLarge once the end was seen
	rest  []byte
}

// Dot begins message data of at most limit octets. Larger data is read to its
// end, and then ErrTooLarge takes the place of io.EOF.
func (c *Conn) Dot(limit int64) *Dot {
	d := &Dot{c: c, limit: limit, bol: true}
	c.body = d
	return d
}

var crlfDot = []byte("\r\n.")

// Next returns octets without copying them, valid until the next read from the
// connection; io.EOF or ErrTooLarge after the last.
func (d *Dot) Next() ([]byte, error) {
	for d.end == nil {
		b, err := d.next()
		if err != nil {
			return nil, err
		}
		if len(b) == 0 {
			continue
		}
		d.n += int64(len(b))
		if d.n <= d.limit {
			return b, nil
		}
		if d.n/floodFactor > d.limit+maxSkip/floodFactor {
			return nil, ErrFlood
		}
	}
	if d.c.body == transfer(d) {
		d.c.body = nil
	}
	return nil, d.end
}

// next returns some content, or nothing after a step in between.
func (d *Dot) next() ([]byte, error) {
	c := d.c
	if d.bol && c.r < c.w {
		if whole := d.lineStart(); !whole {
			return nil, d.more()
		}
		if d.end != nil {
			return nil, nil
		}
	}
	b := c.buf[c.r:c.w]
	n := len(b)
	if i := bytes.Index(b, crlfDot); i >= 0 {
		n, d.bol = i+2, true
	} else if bytes.HasSuffix(b, crlfDot[:2]) {
		d.bol = true
	} else if n > 0 && b[n-1] == '\r' {
		n-- // held back: it may be the begin of CRLF "."
	}
	if n == 0 {
		return nil, d.more()
	}
	c.r += n
	return b[:n], nil
}

// lineStart looks at a dot at the beginning of a line: it is the end, or is
// removed. It reports false if more octets are needed to tell.
func (d *Dot) lineStart() bool {
	c := d.c
	b := c.buf[c.r:c.w]
	switch {
	case b[0] != '.':
	case len(b) == 1, len(b) == 2 && b[1] == '\r':
		return false
	case b[1] == '\r' && b[2] == '\n':
		c.r += 3
		d.end = io.EOF
		if d.n > d.limit {
			d.end = ErrTooLarge
		}
		return true
	default:
		c.r++
	}
	d.bol = false
	return true
}

func (d *Dot) more() error {
	d.pace.n = d.n
	return d.c.fillPaced(&d.pace)
}

// Read implements io.Reader.
func (d *Dot) Read(p []byte) (int, error) {
	if len(d.rest) == 0 {
		b, err := d.Next()
		if err != nil {
			return 0, err
		}
		d.rest = b
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}
