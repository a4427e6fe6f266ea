package lmtpd

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// allAcknowledged reports whether the peer's kernel has acknowledged (TCP), or the
// peer has read (Unix socket), all that we wrote. False if that cannot be known.
func (c *conn) allAcknowledged() bool {
	n, ok := c.queued(unix.SIOCOUTQ)
	return ok && n == 0
}

// inKernel counts the octets received by the kernel and not read by us yet.
func (c *conn) inKernel() int64 {
	n, _ := c.queued(unix.SIOCINQ)
	return int64(n)
}

func (c *conn) queued(request uint) (n int, ok bool) {
	sc, isSocket := c.lc.Raw().(syscall.Conn)
	if !isSocket {
		return 0, false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return 0, false
	}
	var ioctlErr error
	err = rc.Control(func(fd uintptr) { n, ioctlErr = unix.IoctlGetInt(int(fd), request) })
	return n, err == nil && ioctlErr == nil
}
