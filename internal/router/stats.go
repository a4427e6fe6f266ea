package router

import "sync/atomic"

// Statuses of a delivery to one user, as they are logged and counted.
const (
	statusDelivered = "delivered"
	statusDuplicate = "duplicate" // the store has it already
	statusDeferred  = "deferred"  // the MTA keeps it and tries again
	statusRefused   = "refused"   // the MTA bounces it
)

// counters are cumulative.
type counters struct {
	delivered, duplicate, deferred, refused atomic.Int64
}

func (c *counters) add(status string) {
	switch status {
	case statusDelivered:
		c.delivered.Add(1)
	case statusDuplicate:
		c.duplicate.Add(1)
	case statusDeferred:
		c.deferred.Add(1)
	case statusRefused:
		c.refused.Add(1)
	}
}

// Stats are a router's figures.
type Stats struct {
	Sessions int // open now
	// Deliveries, one a user that a recipient leads to, by status. All statuses are there.
	Deliveries map[string]int64
}

// Stats counts. Any goroutine may call it.
func (r *Router) Stats() Stats {
	c := &r.counts
	return Stats{Sessions: r.sessions.count(), Deliveries: map[string]int64{
		statusDelivered: c.delivered.Load(), statusDuplicate: c.duplicate.Load(),
		statusDeferred: c.deferred.Load(), statusRefused: c.refused.Load(),
	}}
}
