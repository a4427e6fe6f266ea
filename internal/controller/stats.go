package controller

import (
	"maps"

	"github.com/tandemail/tandemail/internal/plan"
)

// Acted is a kind of action with its end.
type Acted struct {
	Kind   plan.Kind
	Failed bool
}

// Actions returns how many actions this controller has carried out. Any goroutine
// may call it.
func (c *Controller) Actions() map[Acted]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.acted)
}

func (c *Controller) count(a Acted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acted[a]++
}
