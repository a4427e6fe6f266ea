package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tandemail/tandemail/internal/cluster"
)

// CallsConfig says how Calls reaches one service. Dialer and Service are required;
// zero elsewhere is useful.
type CallsConfig struct {
	Dialer  *Dialer
	Service string
	Conns   int // raw connections to a machine; 2
	Frames  FramesConfig
	Caller  CallerConfig
}

// Calls sends requests to a service of any machine, over a few raw connections
// that it keeps to each. The service's handler runs Respond. Any goroutine may
// use it.
type Calls struct {
	cfg CallsConfig
	k   *keeper[*Caller]
	wg  sync.WaitGroup
}

// NewCalls builds it; it connects when it is asked. Close it.
func NewCalls(cfg CallsConfig) *Calls {
	cfg.Conns = cmp.Or(cfg.Conns, 2)
	c := &Calls{cfg: cfg}
	c.k = newKeeper(cfg.Conns, c.connect)
	return c
}

func (c *Calls) connect(ctx context.Context, m cluster.Machine) (*Caller, error) {
	st, err := c.cfg.Dialer.Raw(ctx, m, c.cfg.Service, nil)
	if err != nil {
		return nil, err
	}
	caller := NewCaller(NewFrames(st, c.cfg.Frames), c.cfg.Caller)
	c.wg.Go(func() {
		err := caller.Run(context.Background()) // ends with Close
		c.cfg.Dialer.Log.Info("call connection ended", "machine", string(m), "err", err)
	})
	return caller, nil
}

// Call sends one request to the machine and returns the response. Errors are those
// of Caller.Call; one that never left because its connection was found dead has
// been tried on the others.
func (c *Calls) Call(ctx context.Context, m cluster.Machine, parts ...[]byte) ([]byte, error) {
	for try := 0; ; try++ {
		caller, err := c.k.get(ctx, m)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
		}
		response, err := caller.Call(ctx, parts...)
		if err == nil || try == c.cfg.Conns || !errors.Is(err, ErrNotSent) || !caller.ended() {
			return response, err
		}
	}
}

// Drop closes the connections to a machine; calls under way fail.
func (c *Calls) Drop(m cluster.Machine) error { return c.k.drop(m) }

// Close closes all connections and waits.
func (c *Calls) Close() error {
	err := c.k.close()
	c.wg.Wait()
	return err
}
