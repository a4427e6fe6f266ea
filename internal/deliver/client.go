package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/route"
)

// Errors of Client. All are temporary.
var (
	// ErrHeld: no master took the request within the caller's time.
	ErrHeld = errors.New("no master of the store took the delivery in time")
	// ErrNoStore: the store is not known.
	ErrNoStore = errors.New("store is not known")
)

// Client delivers to whoever is master.
type Client struct {
	Routes *route.Table
	// Call sends a request to machine m. An error leaves open what happened: the
	// request is sent again under the same transaction.
	Call func(ctx context.Context, m cluster.Machine, parts ...[]byte) ([]byte, error)
	// Large does the same for requests above LargeAbove octets.
	Large func(ctx context.Context, m cluster.Machine, parts ...[]byte) ([]byte, error)
	// Here is this machine, whose own slots are asked without a network.
	Here  cluster.Machine
	Local *Handler // nil when this machine has no slots
	// Hold is asked before a request waits for a master; false means that too many
	// do already. The func it returns ends the wait.
	Hold func() (func(), bool)
}

// LargeAbove is the size above which a message travels on a stream of its own.
const LargeAbove = 2 << 20

const (
	// awaitPause is how often the same master is asked again.
	awaitPause = 25 * time.Millisecond
	// watchAfter: a call that takes longer is given up when the store gets another
	// master meanwhile.
	watchAfter = 100 * time.Millisecond
)

// Deliver returns each recipient's result, waiting for a master as long as ctx lasts.
func (c *Client) Deliver(ctx context.Context, q Request) ([]Result, error) {
	var head []byte
	resp, err := c.try(ctx, q.Store, func(ctx context.Context, r route.Route) (Response, error) {
		q.Epoch = r.Epoch
		if r.Master == c.Here && c.Local != nil {
			return c.Local.Deliver(ctx, q), nil
		}
		head = q.appendHead(head[:0])
		call := c.Call
		if len(q.Octets) > LargeAbove {
			call = c.Large
		}
		b, err := call(ctx, r.Master, head, q.Octets)
		if err != nil {
			return Response{}, err
		}
		return decodeResponse(b)
	})
	return resp.Results, err
}

// Settle tells the store what became of replies. A lost one costs nothing: what is
// not settled is in doubt after a while.
func (c *Client) Settle(ctx context.Context, s Settle) error {
	_, err := c.try(ctx, s.Store, func(ctx context.Context, r route.Route) (Response, error) {
		if r.Master == c.Here && c.Local != nil {
			return c.Local.Settle(ctx, s), nil
		}
		b, err := c.Call(ctx, r.Master, s.append(nil))
		if err != nil {
			return Response{}, err
		}
		return decodeResponse(b)
	})
	return err
}

// try asks whoever is master until one answers or ctx ends.
func (c *Client) try(ctx context.Context, s cluster.Store, ask func(context.Context, route.Route) (Response, error)) (Response, error) {
	r, ok := c.Routes.Lookup(s)
	if !ok {
		return Response{}, fmt.Errorf("store %s: %w", s, ErrNoStore)
	}
	var last error
	release := func() {}
	held := false
	defer func() { release() }()
	for {
		if r.Master != "" {
			resp, err := c.watched(ctx, r, ask)
			if err == nil && resp.Status == Done {
				return resp, nil
			}
			if err == nil && resp.Status == Failed {
				return resp, fmt.Errorf("master %s of store %s: %s", r.Master, s, resp.Text)
			}
			last = err
			if resp.Master != "" {
				c.Routes.Learn(route.Route{Store: s, Master: resp.Master, Epoch: resp.Epoch})
			}
		}
		if !held && c.Hold != nil {
			var ok bool
			if release, ok = c.Hold(); !ok {
				release = func() {}
				return Response{}, errors.Join(fmt.Errorf("store %s, too many wait: %w", s, ErrHeld), last)
			}
			held = true
		}
		var err error
		if r, err = c.Routes.Await(ctx, r, awaitPause); err != nil {
			return Response{}, errors.Join(fmt.Errorf("store %s: %w", s, ErrHeld), last)
		}
	}
}

// watched asks one master, and gives up when another is appointed while it is silent.
func (c *Client) watched(ctx context.Context, r route.Route, ask func(context.Context, route.Route) (Response, error)) (Response, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.AfterFunc(watchAfter, func() {
		for ctx.Err() == nil {
			now, err := c.Routes.Await(ctx, r, time.Second)
			if err == nil && now != r {
				cancel()
			}
		}
	})
	defer timer.Stop()
	return ask(ctx, r)
}
