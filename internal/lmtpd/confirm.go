package lmtpd

import (
	"errors"
	"io"
)

// settle tells the backend once what became of the replies to the last message.
func (c *conn) settle(confirmed bool) {
	c.pending = false
	if confirmed {
		c.be.Confirm()
	} else {
		c.be.Abandon()
	}
}

// confirmIfProven confirms if the peer has sent octets, now consumed, that came
// after our replies had left. What was pipelined ahead of them proves nothing.
func (c *conn) confirmIfProven() {
	if c.pending && c.lc.Received()-int64(c.lc.Buffered()) > c.pendingAt {
		c.settle(true)
	}
}

// handedOver is for a peer that sent QUIT ahead of our replies, as RFC 2920
// allows: it waits for the peer to close and reports whether the peer has the
// replies. It has if the connection ends in order after its kernel acknowledged
// every octet: a process that dies before it has read them makes its kernel reset
// the connection or never acknowledge them.
func (c *conn) handedOver() bool {
	c.lc.SetIdleTimeout(closeTimeout)
	_, err := c.lc.ReadLine()
	if err == nil {
		return c.lc.Received()-int64(c.lc.Buffered()) > c.pendingAt
	}
	return errors.Is(err, io.EOF) && c.allAcknowledged()
}
