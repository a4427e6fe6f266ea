package proxy

import (
	"fmt"
	"io"

	"github.com/tandemail/tandemail/internal/session"
	"github.com/tandemail/tandemail/internal/spool"
)

// Bounds of a unit that comes in several frames.
const (
	unitKept   = 256 << 10 // of memory from unit to unit
	unitMemory = 1 << 20   // above it, it is spooled
	unitLimit  = 256 << 20 // above it, something is wrong
	tailSize   = 64        // longer than any announcement of a literal
)

// unit is response octets until they are forwarded. The zero value is an empty one.
type unit struct {
	begun bool
	size  int64
	mem   []byte
	file  *spool.File
	tail  []byte // the last octets
}

// add takes octets.
func (u *unit) add(c *client, p []byte) error {
	u.begun = true
	u.size += int64(len(p))
	u.keepTail(p)
	switch {
	case u.size > unitLimit:
		return &lostError{session.Violation, fmt.Errorf("unit of more than %d octets", unitLimit)}
	case u.file == nil && u.size <= unitMemory:
		u.mem = append(u.mem, p...)
		return nil
	case u.file == nil:
		f, err := c.cfg.Spool.Create(u.size)
		if err != nil {
			return &byeError{byeSpool, err}
		}
		u.file = f
	}
	if _, err := u.file.Write(p); err != nil {
		return &byeError{byeSpool, err}
	}
	return nil
}

// forward writes all of it.
func (u *unit) forward(c *client) error {
	if err := c.write(u.mem); err != nil {
		return err
	}
	return u.copyFile(c)
}

// copyFile writes what was spooled. Its error leaves the client with part of a
// unit: the session must end.
func (u *unit) copyFile(c *client) error {
	if u.file == nil {
		return nil
	}
	r, err := u.file.Open()
	if err != nil {
		return &byeError{byeSpool, err}
	}
	defer r.Close()
	if _, err := io.Copy(c.lc, r); err != nil {
		return fmt.Errorf("write a unit of %d octets: %w", u.size, err)
	}
	return nil
}

func (u *unit) keepTail(p []byte) {
	u.tail = append(u.tail, p[max(0, len(p)-tailSize):]...)
	u.tail = u.tail[max(0, len(u.tail)-tailSize):]
}

// drop forgets the unit. Some memory is kept for the next one.
func (u *unit) drop(c *client) {
	if u.file != nil {
		if err := u.file.Close(); err != nil {
			c.log.Warn("spooled octets could not be removed", "err", err)
		}
	}
	*u = unit{mem: u.mem[:0], tail: u.tail[:0]}
	if cap(u.mem) > unitKept {
		u.mem = nil
	}
}
