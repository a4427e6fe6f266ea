package slot

import "time"

// company decides whether a batch waits for more proposals before it is appended.
// A batch costs the same journeys and syncs on both machines however many share
// it. Whoever was answered with the last batch is likely to be back soon, for an MTA
// sends one message after the other on each connection, and joins those who wait: so
// many are worth waiting for, for about as long as batches take here: twice what the
// last one was under way. A few are not: then nobody waits. It is pure; times are the
// slot's clock.
type company struct {
	last     int           // proposals in the last batch
	expected int           // at the next; sinks slowly, since batches vary
	flying   bool          // the last one is not committed yet
	begun    time.Duration // when it was appended
	until    time.Duration // nobody waits for company after that
}

const (
	fewest      = 8                     // proposals that are worth waiting for
	maxPatience = 10 * time.Millisecond // however slow the last batch was
)

// left notes a batch of n that was appended.
func (c *company) left(now time.Duration, n int) {
	c.last = n
	c.begun, c.flying = now, true
}

// landed notes that all batches are committed, while so many wait.
func (c *company) landed(now time.Duration, waiting int) {
	if !c.flying {
		return
	}
	c.flying = false
	c.expected = max(c.last+waiting, c.expected-(c.expected+7)/8)
	c.until = now + min(2*(now-c.begun), maxPatience)
}

// wait returns how long the n that wait should wait for others.
func (c *company) wait(now time.Duration, n int) time.Duration {
	if c.expected < fewest || n >= c.expected {
		return 0
	}
	return max(c.until-now, 0)
}
