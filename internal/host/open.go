package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// begin reads Open and answers it. An error means that the session has ended.
func (c *conn) begin(ctx context.Context) error {
	if err := c.frames.SetReadDeadline(time.Now().Add(openTimeout)); err != nil {
		return err
	}
	f, err := session.Receive(c.frames)
	if err != nil {
		return err
	}
	if ctx.Err() == nil {
		err = c.frames.SetReadDeadline(time.Time{})
	}
	if err != nil {
		return err
	}
	open, ok := f.(session.Open)
	switch {
	case !ok:
		return c.violation(ctx, fmt.Sprintf("session begins with %T", f))
	case open.Version != session.Version:
		return c.violation(ctx, fmt.Sprintf("session protocol version %d is not spoken here", open.Version))
	}
	c.log = c.log.With("user", open.User, "remote", open.Remote, sessionKey(open))
	c.open = open
	if err := c.enter(ctx); err != nil {
		c.fail(ctx, 0, reasonOf(err), err.Error())
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return session.Send(ctx, c.frames, session.Opened{Version: session.Version, Epoch: c.epoch, Fork: c.fork})
}

// enter makes the session's executor if this slot may serve the account.
func (c *conn) enter(ctx context.Context) error {
	s, err := c.host.cfg.Slot(c.store)
	if err != nil {
		return err
	}
	c.slot = s
	c.epoch = s.Standing().Epoch
	if err := c.standing(c.epoch); err != nil {
		return err
	}
	account := s.Account(c.open.Account)
	if c.fork, err = forkOf(ctx, account); err != nil {
		return fmt.Errorf("open account %s: %w", c.open.Account, err)
	}
	c.peer = &watchedWriter{FrameWriter: c.frames}
	if c.executor = c.newExecutor(account); c.executor == nil {
		return fmt.Errorf("protocol %d is not served here: %w", c.open.Protocol, session.ErrMalformed)
	}
	if len(c.open.Token) == 0 {
		return c.executor.begin(ctx)
	}
	if err := c.redeem(ctx); err != nil {
		return err
	}
	c.host.counts.redeemed.Add(1)
	return nil
}

// forkOf tells which history of the account this is. A master that may not read
// fails: it is none.
func forkOf(ctx context.Context, a mail.Account) (uint64, error) {
	v, err := a.View(ctx)
	if err != nil {
		return 0, err
	}
	defer v.Close()
	info, err := v.Account()
	return info.Fork, err
}

// standing tells whether this slot is master, in the epoch given and not behind
// the one the front end has seen.
func (c *conn) standing(e cluster.Epoch) error {
	st := c.slot.Standing()
	switch {
	case (!st.Serving || st.Epoch != e) && st.Master == "":
		return fmt.Errorf("store %s has no known master: %w", c.store, cluster.ErrNotMaster)
	case !st.Serving || st.Epoch != e:
		return fmt.Errorf("store %s is served by %s in epoch %d: %w", c.store, st.Master, st.Known, cluster.ErrNotMaster)
	case st.Epoch < c.open.Epoch:
		return fmt.Errorf("store %s is served in epoch %d: %w", c.store, st.Epoch, cluster.ErrBehind)
	}
	return nil
}

// knownEpoch is the highest epoch this machine has heard of.
func (c *conn) knownEpoch() cluster.Epoch {
	if c.slot == nil {
		return 0
	}
	st := c.slot.Standing()
	return max(st.Epoch, st.Known)
}

// reasonOf is the one table from errors to what a front end does about them.
func reasonOf(err error) session.Reason {
	for _, e := range []struct {
		err    error
		reason session.Reason
	}{
		{cluster.ErrNotMaster, session.Moved},
		{cluster.ErrBehind, session.Moved},
		{cluster.ErrStopped, session.Moved},
		{cluster.ErrUnknown, session.Unknown},
	} {
		if errors.Is(err, e.err) {
			return e.reason
		}
	}
	return session.ReasonOf(err)
}
