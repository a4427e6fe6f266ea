//go:build !linux

package app

import "time"

var started = time.Now()

// bootTime is Go's monotonic clock, which may stand still while the machine sleeps:
// good enough where nobody runs a server.
func bootTime() time.Duration { return time.Since(started) }
