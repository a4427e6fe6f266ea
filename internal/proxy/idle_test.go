package proxy

import (
	"runtime"
	"testing"
)

// BenchmarkIdleSession measures what a logged-in session that waits costs: both
// ends of the client's pipe, the front end's session, the stream's pipe and the
// master's session with a selected mailbox.
func BenchmarkIdleSession(b *testing.B) {
	r := newRig(b, func(c *Config) { c.MaxPerUser = 1 << 20; c.MaxConns = 1 << 20 })
	used := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	r.loggedIn().OK("SELECT INBOX")
	before := used()
	for b.Loop() {
		r.loggedIn().OK("SELECT INBOX")
	}
	b.ReportMetric(float64(used()-before)/float64(b.N), "octets/session")
}
