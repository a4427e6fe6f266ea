package line

import "io"

// Literal is a run of a known number of octets in the line stream (IMAP literal,
// BDAT chunk). Read it to io.EOF; what is left is consumed by the next ReadLine.
type Literal struct {
	c    *Conn
	left int64
	pace pace
}

// Literal begins a literal of n octets.
func (c *Conn) Literal(n int64) *Literal {
	l := &Literal{c: c, left: n}
	c.body = l
	return l
}

// Next returns octets without copying them, valid until the next read from the
// connection; io.EOF after the last.
func (l *Literal) Next() ([]byte, error) {
	c := l.c
	if l.left == 0 {
		l.done()
		return nil, io.EOF
	}
	if c.r == c.w {
		if err := c.fillPaced(&l.pace); err != nil {
			return nil, err
		}
	}
	n := int(min(int64(c.w-c.r), l.left))
	b := c.buf[c.r : c.r+n]
	c.r += n
	l.took(n)
	return b, nil
}

// Read implements io.Reader. Octets not yet received go straight into p.
func (l *Literal) Read(p []byte) (int, error) {
	c := l.c
	if l.left == 0 {
		l.done()
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if c.r == c.w && len(p) >= len(c.buf) {
		return l.readDirect(p)
	}
	if c.r == c.w {
		if err := c.fillPaced(&l.pace); err != nil {
			return 0, err
		}
	}
	n := copy(p[:min(int64(len(p)), l.left)], c.buf[c.r:c.w])
	c.r += n
	l.took(n)
	return n, nil
}

func (l *Literal) readDirect(p []byte) (int, error) {
	c := l.c
	if c.cfg.AutoFlush {
		if err := c.Flush(); err != nil {
			return 0, err
		}
	}
	n, err := c.receive(p[:min(int64(len(p)), l.left)], c.due(&l.pace), false)
	l.took(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (l *Literal) took(n int) {
	l.left -= int64(n)
	l.pace.n += int64(n)
	if l.left == 0 {
		l.done()
	}
}

func (l *Literal) done() {
	if l.c.body == transfer(l) {
		l.c.body = nil
	}
}
