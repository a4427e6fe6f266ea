package replica

import "github.com/tandemail/tandemail/internal/cluster"

// epochState: a slot makes an adopted epoch durable before acting in it and
// refuses lower ones for ever. Between the two it acts in neither.
type epochState struct {
	adopted  cluster.Epoch // durable
	promised cluster.Epoch // being made durable, or adopted; lower ones are refused already
}

// settleEpoch adopts the epoch of the newest record.
func (c *Core) settleEpoch() {
	e := c.coord.record.Epoch
	if e <= c.epochs.promised {
		return
	}
	c.epochs.promised = e
	c.emit(AdoptEpoch{Epoch: e, Record: c.coord.record, Rev: c.coord.rev, CoordRev: c.coord.coordRev})
	if c.mutated(ActBeforeEpochSynced) {
		c.epochs.adopted = e
	}
}

func (c *Core) onEpochDurable(e EpochDurable) {
	c.epochs.adopted = max(c.epochs.adopted, e.Epoch)
}

// actsIn reports whether this slot may act under epoch e.
func (c *Core) actsIn(e cluster.Epoch) bool {
	return e != 0 && e == c.epochs.adopted && e == c.epochs.promised
}
