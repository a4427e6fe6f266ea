package replica

import (
	"math"
	"time"
)

// Forever is the read lease of a store's only slot.
const Forever = time.Duration(math.MaxInt64)

// leaseEnd is until when reads may be served: while every required slot has
// confirmed our epoch within Lease, counted from the send of what it confirmed.
// A slot that is promoted is one of them and waits LeaseWait from its last
// confirmation.
func (c *Core) leaseEnd() time.Duration {
	m, t := c.master, c.cfg.Timing
	if m == nil || !m.serving || (m.seal != nil && m.seal.sent) || m.yielding(c.now) {
		return 0
	}
	if c.mutated(ReadWithoutLease) {
		return Forever
	}
	if len(c.coord.record.Slots) == 1 {
		return Forever
	}
	if c.alone() && !c.mutated(AloneForEver) {
		return c.coord.confirmed + t.Alone
	}
	until := Forever
	for _, id := range c.Required() {
		if id == c.cfg.Slot {
			continue
		}
		p := c.counted(id)
		if p == nil || p.stamp == 0 {
			return 0
		}
		until = min(until, p.stamp+t.Lease)
	}
	return until
}

// settleLease tells a lease that changed.
func (c *Core) settleLease() { c.refreshLease() }

func (c *Core) refreshLease() {
	if m := c.master; m != nil {
		if until := c.leaseEnd(); until != m.lease {
			m.lease = until
			c.emit(ReadLease{Until: until})
		}
	}
}
