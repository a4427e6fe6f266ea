package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/route"
)

const (
	// firstPause, doubled up to maxPause, is how often the same master is asked again.
	firstPause = 10 * time.Millisecond
	maxPause   = 80 * time.Millisecond
	// watchAfter: a call that takes longer is given up when the store gets another
	// master meanwhile.
	watchAfter = 100 * time.Millisecond
	// heldAfter: a call that takes longer is a wait like that for a master.
	heldAfter = time.Second
)

type askFunc func(context.Context, route.Route) (Response, error)

// try is one request's way through masters. One goroutine.
type try struct {
	routes *route.Table
	ask    askFunc
	place  place
	times  int
	open   bool  // an earlier attempt may have had an effect
	last   error // of the last attempt
}

// once asks the master of r. last says that there is no use in going on.
func (t *try) once(ctx context.Context, r route.Route) (resp Response, last bool, err error) {
	resp, err = t.watched(ctx, r)
	var refused *link.RemoteError
	switch {
	case err == nil && resp.Status == Done:
		return resp, true, nil
	case err == nil && resp.Status == Full:
		return resp, true, t.final(fmt.Errorf("master %s of store %s: %w", r.Master, r.Store, mail.ErrFull))
	case err == nil && resp.Status == Failed:
		return resp, true, fmt.Errorf("master %s of store %s: %s", r.Master, r.Store, resp.Text)
	case errors.Is(err, errWire), errors.As(err, &refused):
		return resp, true, fmt.Errorf("master %s of store %s: %w", r.Master, r.Store, err)
	case err == nil:
		t.last = fmt.Errorf("%s answered %v", r.Master, resp.Status)
		t.open = t.open || !resp.Status.nothing()
		if resp.Master != "" {
			t.routes.Learn(route.Route{Store: r.Store, Master: resp.Master, Epoch: resp.Epoch})
		}
	default:
		t.last = err
		t.open = t.open || !errors.Is(err, link.ErrNotSent)
	}
	return resp, false, nil
}

// final is err, unless an earlier attempt may have had an effect.
func (t *try) final(err error) error {
	if t.open {
		return fmt.Errorf("%v, after an attempt of which nothing is known: %w", err, mail.ErrUnknown)
	}
	return err
}

// gaveUp is the error for why, after all that was tried.
func (t *try) gaveUp(s cluster.Store, why error) error {
	kind := mail.ErrBusy
	if t.open {
		kind = mail.ErrUnknown
	}
	if t.last != nil {
		return fmt.Errorf("no master of store %s took the delivery: %v; the last try: %v: %w", s, why, t.last, kind)
	}
	return fmt.Errorf("no master of store %s took the delivery: %v: %w", s, why, kind)
}

// pause is the time until the same master is asked again.
func (t *try) pause() time.Duration {
	d := min(firstPause<<min(t.times, 8), maxPause)
	t.times++
	return d
}

// watched asks one master, and gives up when another is appointed while it is
// silent, or when it is silent and too many wait.
func (t *try) watched(ctx context.Context, r route.Route) (Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	timer := time.AfterFunc(watchAfter, func() {
		defer close(watched)
		t.watch(ctx, r, cancel)
	})
	resp, err := t.ask(ctx, r)
	cancel(nil)
	if !timer.Stop() {
		<-watched // it has t
	}
	return resp, err
}

var (
	errReplaced = errors.New("the store has another master")
	errCrowded  = errors.New("too many deliveries wait")
)

// watch runs while the call under ctx is silent.
func (t *try) watch(ctx context.Context, r route.Route, cancel context.CancelCauseFunc) {
	for first := true; ctx.Err() == nil; first = false {
		now, err := t.routes.Await(ctx, r, heldAfter-watchAfter)
		switch {
		case err != nil:
			return
		case now != r && now.Master != "":
			cancel(errReplaced)
			return
		case first && !t.place.enter():
			cancel(errCrowded)
			return
		}
	}
}

// place is a request's place among those that wait.
type place struct {
	take func() (func(), bool) // nil: there is always one
	give func()                // not nil while it has one
}

// enter takes a place unless it has one; false when there is none.
func (p *place) enter() bool {
	if p.take == nil || p.give != nil {
		return true
	}
	give, ok := p.take()
	if ok {
		p.give = give
	}
	return ok
}

func (p *place) leave() {
	if p.give != nil {
		p.give()
	}
}
