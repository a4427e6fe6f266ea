package proxy

import (
	"context"
	"errors"
	"time"

	"github.com/tandemail/tandemail/internal/auth"
	"github.com/tandemail/tandemail/internal/route"
	"github.com/tandemail/tandemail/internal/session"
)

// Outcomes of a log-in that a dialect words. Others are the authenticator's.
var (
	errUserLimit = errors.New("too many sessions of this user")
	errNoMaster  = errors.New("no master of the user's store")
	errInUse     = errors.New("mailbox is in use by another session")
	errElsewhere = errors.New("another machine is master of the user's store")
)

// enter logs the client in whom the authenticator lets in, and counts what came of it.
// An error is for the dialect to answer, but a *byeError, or one of the client's
// connection, ends the session.
func (c *client) enter(ctx context.Context, mechanism string, id auth.Identity, err error) error {
	if err != nil {
		err = c.refused(ctx, err)
	} else {
		err = c.logIn(ctx, id)
	}
	c.srv.counts.login(mechanism, err)
	return err
}

// logIn opens a session at the master of the user's store, which it waits for.
func (c *client) logIn(ctx context.Context, id auth.Identity) error {
	if !c.srv.limits.userIn(id.User) {
		return errUserLimit
	}
	c.user = id
	err := c.newSession()
	if err == nil {
		c.token = session.Token{Account: id.Account, User: id.User, By: id.AuthorisedBy}
		c.tried, c.pause = route.Route{Store: id.Store}, firstPause
		alive := time.NewTicker(c.cfg.Alive)
		defer alive.Stop()
		err = c.connect(ctx, time.Now().Add(c.cfg.Hold), alive.C)
	}
	if err != nil {
		c.srv.limits.userOut(id.User)
		c.log.Info("log-in failed", "err", err)
		c.user, c.log = auth.Identity{}, c.nobody
		bye, ours := errors.AsType[*byeError](err)
		switch {
		case ours && bye.why == byeInUse:
			err = errInUse
		case ours && bye.why == byeElsewhere:
			err = errElsewhere
		case ours && bye.why != byeShutdown:
			err = errNoMaster
		}
		return err
	}
	c.srv.counts.loggedIn.Add(1)
	return nil
}

// logOut forgets the user, if there is one, and ends the session at the master.
func (c *client) logOut() {
	c.hangUp()
	if c.user.User == "" {
		return
	}
	c.srv.limits.userOut(c.user.User)
	c.srv.counts.loggedIn.Add(-1)
	c.upstream, c.user, c.token, c.log = nil, auth.Identity{}, session.Token{}, c.nobody
	c.number, c.began, c.useless = 0, false, nil
}

// refused makes guessing slow, and ends a connection that does nothing else.
func (c *client) refused(ctx context.Context, err error) error {
	if !errors.Is(err, auth.ErrFailed) && !errors.Is(err, auth.ErrLimited) {
		if !errors.Is(err, auth.ErrFrozen) {
			c.log.Warn("authentication is not possible", "err", err)
		}
		return err
	}
	if errors.Is(err, auth.ErrToken) { // why is for whoever set it up
		c.log.Info("token or certificate refused", "err", err)
	}
	timer := time.NewTimer(c.cfg.FailureDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	if c.failures++; c.failures >= c.cfg.MaxFailures {
		return &byeError{byeFailures, err}
	}
	return err
}
