package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/yamux"

	"github.com/tandemail/tandemail/internal/cluster"
)

// muxConns is how many multiplexed connections a Pool keeps to one machine: a
// second, so that a lost segment does not stop all sessions.
const muxConns = 2

// Pool opens streams on multiplexed connections that it keeps. Any goroutine may
// use it.
type Pool struct {
	d *Dialer
	k *keeper[muxConn]
}

type muxConn struct {
	*yamux.Session
	peer Peer
}

func (c muxConn) Done() <-chan struct{} { return c.CloseChan() }

// NewPool builds a pool; it connects when it is asked. Close it.
func NewPool(d *Dialer) *Pool {
	return &Pool{d: d, k: newKeeper(muxConns, func(ctx context.Context, m cluster.Machine) (muxConn, error) {
		ctx, cancel := context.WithTimeout(ctx, d.timeout())
		defer cancel()
		t, peer, err := d.connect(ctx, m, alpnMux)
		if err != nil {
			return muxConn{}, err
		}
		s, err := muxClient(t, d.Log.With("machine", string(m)))
		if err != nil {
			return muxConn{}, errors.Join(err, t.Close())
		}
		return muxConn{s, peer}, nil
	})}
}

// Open opens a stream to a service of the machine. It waits for a connection only
// if there is none, and for the answer of the peer. While a machine cannot be
// reached it fails at once between the tries.
func (p *Pool) Open(ctx context.Context, m cluster.Machine, service string, meta []byte) (*Stream, error) {
	c, err := p.k.get(ctx, m)
	if err != nil {
		return nil, err
	}
	st, err := c.OpenStream()
	if err != nil {
		return nil, fmt.Errorf("open stream to machine %s: %w", m, err)
	}
	ctx, cancel := context.WithTimeout(ctx, p.d.timeout())
	defer cancel()
	return open(ctx, st, c.peer, service, meta)
}

// Drop closes the connections to a machine.
func (p *Pool) Drop(m cluster.Machine) error { return p.k.drop(m) }

// Close closes all connections and waits for dials under way.
func (p *Pool) Close() error { return p.k.close() }
