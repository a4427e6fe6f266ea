package proxy

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/tandemail/tandemail/internal/route"
	"github.com/tandemail/tandemail/internal/session"
)

// answer has a command executed and tells the client, whatever becomes of masters
// meanwhile. An error ends the session.
func (c *client) answer(ctx context.Context, f *flight) error {
	if f.watch {
		c.listen(f)
	} else {
		c.srv.counts.commands.Add(1)
	}
	interval := c.cfg.Alive
	if f.idle {
		interval = c.cfg.IdleAlive
		c.srv.counts.idling.Add(1)
		defer c.srv.counts.idling.Add(-1)
	}
	if !f.idle {
		c.slow = f.tag
		defer func() { c.slow = "" }()
	}
	alive := time.NewTicker(interval)
	defer alive.Stop()
	for {
		err := c.attempt(ctx, f, alive.C)
		lost, ok := errors.AsType[*lostError](err)
		if !ok || isBye(err) {
			return err
		}
		if err := c.lose(f, lost); err != nil {
			return err
		}
	}
}

// attempt has the command executed at one master. A *lostError means that the
// stream there has ended.
func (c *client) attempt(ctx context.Context, f *flight, alive <-chan time.Time) error {
	if c.upstream == nil {
		if f.until.IsZero() {
			f.until = time.Now().Add(c.cfg.Hold)
		}
		if err := c.connect(ctx, f.until, alive); err != nil {
			return err
		}
	}
	if f.sent++; f.sent > 1 {
		c.srv.counts.resent.Add(1)
	}
	if err := f.send(ctx, c.upstream); err != nil {
		return c.sendError(ctx, err)
	}
	if f.ended {
		if err := c.endIdle(ctx, f); err != nil {
			return err
		}
	}
	return newRelay(c, f, alive).run(ctx)
}

func (c *client) sendError(ctx context.Context, err error) error {
	switch {
	case isBye(err):
		return err
	case ctx.Err() != nil:
		return &byeError{byeShutdown, err}
	}
	return &lostError{err: err}
}

// lose gives a stream up. The error says that the session ends with it.
func (c *client) lose(f *flight, lost *lostError) error {
	up := c.upstream
	c.upstream = nil
	up.abort()
	c.srv.counts.broken.Add(1)
	c.log.Debug("session lost its master", "machine", string(up.to.Master), "epoch", uint64(up.to.Epoch), "err", lost)
	if err := c.mayGoOn(f, lost); err != nil {
		return err
	}
	if f.until.IsZero() {
		f.until = time.Now().Add(c.cfg.Hold)
		c.tried, c.pause = route.Route{Store: up.to.Store}, firstPause
	} else {
		// It has failed before: wait for a change, or a while.
		c.tried, c.pause = up.to, min(2*c.pause, lastPause)
	}
	return nil
}

// watch lets the master tell what the client asked to be told of by NOTIFY, until the
// client sends something: that line is the next one to be read.
func (c *client) watch(ctx context.Context) error {
	if len(c.token.Notify) == 0 || c.lc.Buffered() > 0 {
		return nil
	}
	if err := c.flush(); err != nil {
		return err
	}
	c.number++
	return c.answer(ctx, &flight{number: c.number, idle: true, watch: true})
}

// listen begins to wait for what the client sends.
func (c *client) listen(f *flight) {
	f.listening = make(chan listened, 1)
	c.listening = f.listening
	go func() {
		b, err := c.lc.ReadLine()
		f.listening <- listened{b, c.readError(err)}
	}()
}

// heard takes what the client sent during IDLE or a watch.
func (c *client) heard(ctx context.Context, f *flight, l listened) error {
	c.listening = nil
	if l.err != nil {
		return l.err
	}
	f.ended = true
	if f.watch {
		c.ahead = &l.line
	} else {
		f.garbled = !bytes.EqualFold(l.line, []byte("DONE"))
	}
	return c.endIdle(ctx, f)
}

func (c *client) endIdle(ctx context.Context, f *flight) error {
	if err := session.Send(ctx, c.upstream, session.EndIdle{Number: f.number}); err != nil {
		return c.sendError(ctx, err)
	}
	return nil
}

// hangUp ends the session at the master. What has begun there is finished.
func (c *client) hangUp() {
	if c.upstream == nil {
		return
	}
	c.upstream.detach()
	if err := session.Send(context.Background(), c.upstream, session.Close{}); err != nil {
		c.upstream.Abort()
		return
	}
	if err := c.upstream.Close(); err != nil {
		c.log.Debug("stream to the master did not close in order", "err", err)
	}
}

// blunder counts a command that was none; too many in a row end the session.
func (c *client) blunder() error {
	if c.errors++; c.errors >= c.cfg.MaxErrors {
		return &byeError{why: byeErrors}
	}
	return nil
}
