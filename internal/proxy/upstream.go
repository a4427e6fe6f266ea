package proxy

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/route"
	"github.com/tandemail/tandemail/internal/session"
)

// upstream is an open stream to a master.
type upstream struct {
	Backend
	to     route.Route
	fork   uint64 // of the account
	detach func()
}

// abort ends the stream at once.
func (u *upstream) abort() {
	u.detach()
	u.Abort()
}

// lostError is the end of a session at one master. Reason is 0 if the stream broke
// without a word.
type lostError struct {
	reason session.Reason
	err    error
}

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// open opens the session at the master that r leads to, within ctx. It gives up
// when another one is appointed. The error is a *lostError.
func (s *Server) open(ctx context.Context, r route.Route, o session.Open) (*upstream, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	detach := s.stores.attach(r, cancel)
	defer detach()
	b, err := s.cfg.Dial(ctx, r)
	if err != nil {
		return nil, &lostError{err: err}
	}
	stop := context.AfterFunc(ctx, b.Abort)
	o.Epoch = r.Epoch
	opened, err := handshake(ctx, b, o)
	if !stop() && err == nil {
		err = &lostError{err: context.Cause(ctx)}
	}
	if err != nil {
		b.Abort()
		s.learn(r, opened.Epoch)
		return nil, fmt.Errorf("open session at %s: %w", r.Master, err)
	}
	r.Epoch = max(r.Epoch, opened.Epoch)
	return &upstream{Backend: b, to: r, fork: opened.Fork, detach: s.stores.attach(r, b.Abort)}, nil
}

// handshake sends Open. With an error Opened has at most the epoch that the machine
// knows of.
func handshake(ctx context.Context, b Backend, o session.Open) (session.Opened, error) {
	if err := session.Send(ctx, b, o); err != nil {
		return session.Opened{}, &lostError{err: err}
	}
	f, err := session.Receive(b)
	if err != nil {
		return session.Opened{}, lostBy(err)
	}
	switch f := f.(type) {
	case session.Opened:
		if f.Version != session.Version {
			return f, &lostError{session.Violation, fmt.Errorf("session protocol version %d", f.Version)}
		}
		return f, nil
	case session.Failed:
		return session.Opened{Epoch: f.Epoch}, &lostError{f.Reason, errors.New(f.Text)}
	}
	return session.Opened{}, &lostError{session.Violation, fmt.Errorf("session is opened with %T", f)}
}

func lostBy(err error) *lostError {
	if errors.Is(err, session.ErrMalformed) {
		return &lostError{session.Violation, err}
	}
	return &lostError{err: err}
}

// learn takes what a machine that is not master knows: in that epoch somebody is
// whom the routes will tell.
func (s *Server) learn(r route.Route, known cluster.Epoch) {
	if known > r.Epoch {
		s.cfg.Routes.Learn(route.Route{Store: r.Store, Epoch: known})
	}
}
