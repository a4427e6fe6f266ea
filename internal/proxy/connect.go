package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/route"
	"github.com/tandemail/tandemail/internal/session"
)

// Pauses between tries to open a session while the route stays as it is.
const (
	firstPause = 25 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// connect opens the session at whoever is master, and waits for one until the time
// given. The client gets a sign of life at each tick meanwhile. The error is a
// *byeError, or that of the client's connection.
func (c *client) connect(ctx context.Context, until time.Time, alive <-chan time.Time) error {
	o, err := c.opening()
	if err != nil {
		return &byeError{byeResume, err}
	}
	seeking, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	type result struct {
		up  *upstream
		err error
	}
	found := make(chan result, 1)
	go func() {
		up, err := c.srv.seek(seeking, c.tried, c.pause, o)
		found <- result{up, err}
	}()
	for {
		select {
		case r := <-found:
			if err == nil && r.err != nil && ctx.Err() != nil {
				return &byeError{byeShutdown, r.err}
			}
			if r.err == nil {
				c.joined(r.up)
			}
			return cmp.Or(err, r.err)
		case <-alive:
			if err == nil {
				if err = c.signOfLife(); err != nil {
					cancel() // the client has gone
				}
			}
		}
	}
}

func (c *client) joined(up *upstream) {
	c.upstream, c.tried = up, route.Route{Store: up.to.Store}
	c.token.Fork = up.fork // with a token: the one it has
	if c.began {
		c.srv.counts.resumed.Add(1)
		c.log.Debug("session goes on at another master", "machine", string(up.to.Master), "epoch", uint64(up.to.Epoch))
	}
	c.began = true
}

// signOfLife shows a client that waits that somebody is there, unless it is inside a
// response.
func (c *client) signOfLife() error {
	if c.midway {
		return nil
	}
	if err := c.write(c.dialect.alive(c.slow)); err != nil {
		return err
	}
	return c.flush()
}

// seek tries whoever is master until one takes the session or ctx ends. tried is a
// route that has just failed, or has no master; pause is the first one.
func (s *Server) seek(ctx context.Context, tried route.Route, pause time.Duration, o session.Open) (*upstream, error) {
	var last error
	r := tried
	if tried.Master == "" {
		if now, ok := s.cfg.Routes.Lookup(tried.Store); ok {
			r = now
			up, err := s.try(ctx, r, o)
			if err == nil || isBye(err) {
				return up, err
			}
			last = err
		}
	}
	s.counts.held.Add(1)
	s.counts.holding.Add(1)
	begun := time.Now()
	defer func() {
		s.counts.holding.Add(-1)
		s.holds.Observe(time.Since(begun))
	}()
	for {
		now, err := s.cfg.Routes.Await(ctx, r, pause)
		if err != nil {
			return nil, &byeError{byeHold, errors.Join(fmt.Errorf("store %s: %w", tried.Store, errNoMaster), last)}
		}
		r = now
		up, err := s.try(ctx, r, o)
		if err == nil || isBye(err) {
			return up, err
		}
		last = err
		pause = min(2*pause, lastPause)
	}
}

// try opens the session at the master of r, if there is one. A *byeError is final.
func (s *Server) try(ctx context.Context, r route.Route, o session.Open) (*upstream, error) {
	switch {
	case r.Master == "":
		return nil, fmt.Errorf("store %s: %w", r.Store, errNoMaster)
	case s.cfg.Only != "" && r.Master != s.cfg.Only:
		return nil, &byeError{byeElsewhere, fmt.Errorf("store %s is served by %s", r.Store, r.Master)}
	}
	up, err := s.open(ctx, r, o)
	if lost, ok := errors.AsType[*lostError](err); ok {
		if why := final(lost.reason); why != none {
			return nil, &byeError{why, err}
		}
	}
	return up, err
}

func isBye(err error) bool {
	_, ok := errors.AsType[*byeError](err)
	return ok
}
