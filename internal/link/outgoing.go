package link

import (
	"net"
	"sync"
)

// outgoing are the connections that a Dialer has made and nobody has closed yet.
type outgoing struct {
	mu   sync.Mutex
	open map[*dialed]Peer
}

// dialed is one of them.
type dialed struct {
	net.Conn
	of *outgoing
}

// Close ends it. Any goroutine may, and again.
func (d *dialed) Close() error {
	d.of.mu.Lock()
	delete(d.of.open, d)
	d.of.mu.Unlock()
	return d.Conn.Close()
}

// keep remembers who is at the other end of d, which is open.
func (o *outgoing) keep(d *dialed, p Peer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		o.open = map[*dialed]Peer{}
	}
	o.open[d] = p
}

// strangers are those whose peer is not allowed any more.
func (o *outgoing) strangers(allowed func(Peer) error) map[*dialed]error {
	o.mu.Lock()
	open := make(map[*dialed]Peer, len(o.open))
	for d, p := range o.open {
		open[d] = p
	}
	o.mu.Unlock()
	out := map[*dialed]error{}
	for d, p := range open {
		if err := allowed(p); err != nil {
			out[d] = err
		}
	}
	return out
}

// Recheck asks Allowed again and closes the connections to machines that are no
// longer, as Server.Recheck does for those from them.
func (d *Dialer) Recheck() {
	allowed := func(p Peer) error { return d.Allowed(p.Machine, p.Key) }
	for c, err := range d.outgoing.strangers(allowed) {
		d.Log.Warn("connection to a machine ended", "remote", c.RemoteAddr().String(), "err", err)
		_ = c.Close()
	}
}
