package replica

import "github.com/tandemail/tandemail/internal/cluster"

// Cursor is a runner's place in one outgoing stream. Pure; one a session, made
// by StartStream and thrown away by StopStream or the session's end:
//
//	for cur.Room() && cur.Next < journal end {
//		b := batch at cur.Next
//		send Batch{cur.Stream, cur.Epoch, b.Base, b.End, core.Commit(), b.Raw}
//		cur.Sent(b.End)
//	}
//
// after every Appended, StreamAcked and StartStream. A deep window would turn a
// closed loop into many tiny batches, each paying a sync: two batches, or what
// fits windowOctets when a replica catches up.
type Cursor struct {
	Session Session
	Stream  uint64
	Epoch   cluster.Epoch
	Next    cluster.LSN   // first octet not sent
	ends    []cluster.LSN // of batches sent and not acknowledged
	acked   cluster.LSN
}

const windowOctets = 1 << 20

// NewCursor begins where the effect says.
func NewCursor(e StartStream) *Cursor {
	return &Cursor{Session: e.Session, Stream: e.Stream, Epoch: e.Epoch, Next: e.From, acked: e.From}
}

// Room reports whether another batch may be sent now.
func (c *Cursor) Room() bool {
	return len(c.ends) < maxInFlight || (len(c.ends) < 64 && c.Next-c.acked < windowOctets)
}

// Sent notes that the batch that begins at Next and ends at end was sent.
func (c *Cursor) Sent(end cluster.LSN) {
	c.Next = end
	c.ends = append(c.ends, end)
}

// Acked notes that the peer is durable up to lsn.
func (c *Cursor) Acked(lsn cluster.LSN) {
	c.acked = max(c.acked, lsn)
	for len(c.ends) > 0 && c.ends[0] <= lsn {
		c.ends = c.ends[1:]
	}
}
