package deliver

import (
	"context"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/route"
)

// LargeAbove is the size in octets above which a message travels on a stream of
// its own.
const LargeAbove = 2 << 20

// Call sends the parts as one request to machine m and returns its answer, within
// ctx. The parts are copied before it waits. Errors as those of link.Caller.Call:
// link.ErrNotSent says that nothing has happened.
type Call func(ctx context.Context, m cluster.Machine, parts ...[]byte) ([]byte, error)

// Client delivers to whoever is master. Its fields are not changed after its first
// use; it is safe for concurrent use.
type Client struct {
	Routes *route.Table
	Call   Call
	// Large does the same for deliveries of more than LargeAbove octets.
	Large Call
	// Here is this machine, whose own slots are asked without a network.
	Here  cluster.Machine
	Local *Handler // nil when this machine has no slots
	// Hold is asked before a delivery waits for a master, or has waited for its
	// answer for a second; false means that too many do already. The func it returns
	// ends the wait. nil lets everybody wait.
	Hold func() (func(), bool)
}

// Deliver returns each recipient's result, in q's order. It waits for a master, and
// asks again under the same transaction, as long as ctx lasts, which should have a
// deadline. q has at most MaxRecipients and MaxPrefixes.
//
// Errors: mail.ErrBusy, no master took it in time, and mail.ErrFull: nothing has
// happened. mail.ErrUnknown and all others: something may have; whoever answers an
// MTA with less than a success tells Settle that the delivery is in doubt.
func (c *Client) Deliver(ctx context.Context, q Request) ([]Result, error) {
	resp, err := c.patiently(ctx, q.Store, c.Hold, func(ctx context.Context, r route.Route) (Response, error) {
		return c.deliver(ctx, r, q)
	})
	return resp.Results, err
}

// deliver asks one master.
func (c *Client) deliver(ctx context.Context, r route.Route, q Request) (Response, error) {
	q.Epoch, q.wait = r.Epoch, 0
	if t, ok := ctx.Deadline(); ok {
		q.wait = max(time.Until(t), time.Millisecond)
	}
	if c.isHere(r) {
		return answerTo(&q, c.Local.Deliver(ctx, q))
	}
	call := c.Call
	if len(q.Octets) > LargeAbove {
		// So large a message is brought only to who says he will take it.
		resp, err := c.ask(ctx, r, (&probe{q.Store, r.Epoch}).append(nil))
		if err != nil || resp.Status != Done {
			return resp, err
		}
		call = c.Large
	}
	b, err := call(ctx, r.Master, q.appendHead(make([]byte, 0, 512*len(q.Recipients)+256)), q.Octets)
	if err != nil {
		return Response{}, err
	}
	resp, err := decodeResponse(b)
	if err != nil {
		return Response{}, err
	}
	return answerTo(&q, resp)
}

func answerTo(q *Request, resp Response) (Response, error) {
	if resp.Status == Done {
		return resp, resp.answers(q)
	}
	return resp, nil
}

func (c *Client) isHere(r route.Route) bool { return r.Master == c.Here && c.Local != nil }

// ask sends one small request.
func (c *Client) ask(ctx context.Context, r route.Route, request []byte) (Response, error) {
	b, err := c.Call(ctx, r.Master, request)
	if err != nil {
		return Response{}, err
	}
	return decodeResponse(b)
}

// Settle tells the store what became of replies, at most MaxRefs. It waits as
// Deliver does, but takes nobody's place by it. Doing it twice is harmless.
func (c *Client) Settle(ctx context.Context, s Settle) error {
	_, err := c.patiently(ctx, s.Store, nil, func(ctx context.Context, r route.Route) (Response, error) {
		if c.isHere(r) {
			return c.Local.Settle(ctx, s), nil
		}
		return c.ask(ctx, r, s.append(nil))
	})
	return err
}

// patiently asks whoever is master of s until one has answered for good or ctx ends.
func (c *Client) patiently(ctx context.Context, s cluster.Store, hold func() (func(), bool), ask askFunc) (Response, error) {
	r, known := c.Routes.Lookup(s)
	r.Store = s
	t := try{routes: c.Routes, ask: ask, place: place{take: hold}}
	defer t.place.leave()
	for {
		if r.Master != "" {
			resp, final, err := t.once(ctx, r)
			if final {
				return resp, err
			}
		}
		if !t.place.enter() {
			return Response{}, t.gaveUp(s, errCrowded)
		}
		now, err := c.Routes.Await(ctx, r, t.pause())
		if err != nil {
			if !known {
				err = fmt.Errorf("the store is not known: %w", err)
			}
			return Response{}, t.gaveUp(s, err)
		}
		r, known = now, known || now.Store != ""
		r.Store = s
	}
}
