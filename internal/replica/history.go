package replica

import "github.com/tandemail/tandemail/internal/cluster"

// history is a journal in outline: where each epoch began and where it ends.
type history struct {
	low    cluster.LSN
	starts []EpochStart
	end    cluster.LSN
}

func (c *Core) history() history { return history{c.log.low, c.log.starts, c.log.end.LSN} }

// clipped reports whether the i-th epoch's first batch was trimmed away, so that
// its true start is not known.
func (h history) clipped(i int) bool { return i == 0 && h.low > 0 && h.starts[0].LSN <= h.low }

// complete reports whether the outline reaches back to the beginning of time.
func (h history) complete() bool { return len(h.starts) == 0 || h.starts[0].LSN == 0 }

// epochEnd is where the i-th epoch of the outline ends.
func (h history) epochEnd(i int) cluster.LSN {
	if i+1 < len(h.starts) {
		return h.starts[i+1].LSN
	}
	return h.end
}

// common returns the LSN up to which two journals hold the same octets: the end
// of the shorter copy of the newest epoch that began at the same place with the
// same chain in both. Within an epoch one incarnation wrote one sequence, so
// equal starts imply equal batches up to the shorter end. ok is false if the
// outlines do not overlap.
func common(a, b history) (lsn cluster.LSN, ok bool) {
	for i := len(a.starts) - 1; i >= 0; i-- {
		for j := len(b.starts) - 1; j >= 0; j-- {
			same := a.starts[i] == b.starts[j]
			if a.starts[i].Epoch == b.starts[j].Epoch && (a.clipped(i) || b.clipped(j)) {
				same = true // one incarnation wrote both; the chain at the end is compared anyway
			}
			if same {
				return min(a.epochEnd(i), b.epochEnd(j)), true
			}
		}
	}
	return 0, a.complete() && b.complete()
}

// chainAt returns the chain at lsn if the outline alone tells it.
func (c *Core) chainAt(lsn cluster.LSN) (cluster.Position, bool) {
	if lsn == c.log.end.LSN {
		return c.log.end, true
	}
	for i, s := range c.log.starts {
		if s.LSN == lsn {
			at := cluster.Position{LSN: lsn, Chain: s.Chain}
			if i > 0 {
				at.Epoch = c.log.starts[i-1].Epoch
			}
			return at, true
		}
	}
	return cluster.Position{}, lsn == 0
}
