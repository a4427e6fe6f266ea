//go:build !linux

package lmtpd

// allAcknowledged is not known here: such a delivery stays in doubt.
func (c *conn) allAcknowledged() bool { return false }

// inKernel is not known here.
func (c *conn) inKernel() int64 { return 0 }
