package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/session"
)

// errViolation: the front end broke the protocol. It has been told.
var errViolation = errors.New("front end broke the session protocol")

// errRefused: the session cannot be here. The front end has been told.
var errRefused = errors.New("session refused")

// conn is one session's stream. Its fields belong to the goroutine that reads,
// but while a command runs executor belongs to that.
type conn struct {
	host   *Host
	log    *slog.Logger
	store  cluster.Store
	frames *link.Frames
	peer   *watchedWriter     // frames, for answers
	cancel context.CancelFunc // ends a running command

	slot     Slot
	epoch    cluster.Epoch // of the session's opening here
	fork     uint64        // of the account
	open     session.Open
	executor executor // nil before Open

	number  uint64        // of the newest command
	whole   bool          // it has come in whole
	running chan struct{} // closed when the newest command has ended; nil: none yet
	done    atomic.Bool   // its Done is being sent
}

func (c *conn) serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = c.frames.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	defer c.wait()
	defer c.cancel()
	if err := c.begin(ctx); err != nil {
		return err
	}
	for {
		f, err := session.Receive(c.frames)
		switch {
		case ctx.Err() != nil:
			return c.stop(ctx)
		case errors.Is(err, session.ErrMalformed):
			return c.violation(ctx, err.Error())
		case err != nil:
			return err
		}
		switch f := f.(type) {
		case session.Command:
			err = c.command(ctx, f)
		case session.Watch:
			err = c.watch(ctx, f.Number)
		case session.EndIdle:
			c.executor.endIdle(f.Number)
		case session.Close:
			c.executor.endIdle(c.number)
			c.wait()
			return nil
		default:
			err = c.violation(ctx, fmt.Sprintf("frame of type %T from a front end", f))
		}
		if err != nil {
			return err
		}
	}
}

// stop ends the session since the server stops. A command that runs ends with ctx
// and says so itself.
func (c *conn) stop(ctx context.Context) error {
	busy := c.running != nil && !c.done.Load()
	c.wait()
	if !busy {
		c.fail(context.WithoutCancel(ctx), 0, session.Busy, "server is shutting down")
	}
	return context.Cause(ctx)
}

// wait returns when no command runs.
func (c *conn) wait() {
	if c.running != nil {
		<-c.running
	}
}

// command takes a piece of a command, and begins it if it is the last.
func (c *conn) command(ctx context.Context, f session.Command) error {
	if c.whole || c.running == nil && c.number == 0 {
		if err := c.next(ctx, f.Number); err != nil {
			return err
		}
	}
	if f.Number != c.number {
		return c.violation(ctx, fmt.Sprintf("piece of command %d inside command %d", f.Number, c.number))
	}
	err := c.collect(f)
	switch {
	case err != nil:
		c.log.Warn("command could not be taken in", "err", err)
		c.fail(ctx, f.Number, reasonOf(err), err.Error())
		return err
	case !f.Last:
		return nil
	}
	c.host.counts.commands.Add(1)
	c.start(ctx, f.Number, c.executor.execute)
	return nil
}

// watch begins a command of the front end's own.
func (c *conn) watch(ctx context.Context, number uint64) error {
	if !c.whole && c.number != 0 {
		return c.violation(ctx, fmt.Sprintf("watch %d inside command %d", number, c.number))
	}
	if err := c.next(ctx, number); err != nil {
		return err
	}
	c.start(ctx, number, c.executor.watch)
	return nil
}

// start runs the command that is whole beside the reader.
func (c *conn) start(ctx context.Context, number uint64, run func(context.Context, uint64) error) {
	c.whole = true
	c.running = make(chan struct{})
	c.done.Store(false)
	go c.execute(ctx, number, run, c.running)
}

// next begins to take in command n, once the one before has ended.
func (c *conn) next(ctx context.Context, n uint64) error {
	switch {
	case c.running != nil && !c.done.Load():
		return c.violation(ctx, fmt.Sprintf("command %d while command %d runs", n, c.number))
	case n <= c.number:
		return c.violation(ctx, fmt.Sprintf("command %d after command %d", n, c.number))
	}
	c.wait()
	c.number, c.whole = n, false
	return nil
}

// collect feeds a piece to the executor; the last must make the command whole, and
// no other may.
func (c *conn) collect(f session.Command) error {
	p, whole := f.Octets, false
	for len(p) > 0 && !whole {
		n, ended, err := c.executor.feed(p)
		if err != nil {
			return fmt.Errorf("take in command %d: %w", f.Number, err)
		}
		p, whole = p[n:], ended
	}
	if whole != f.Last || len(p) > 0 {
		return fmt.Errorf("command %d has no or a second end: %w", f.Number, session.ErrMalformed)
	}
	return nil
}

// execute runs one command.
func (c *conn) execute(ctx context.Context, number uint64, run func(context.Context, uint64) error, ended chan<- struct{}) {
	defer close(ended)
	defer func() {
		if p := recover(); p != nil {
			c.panicked(p)
			_ = c.frames.Close() // the reader sees the end
		}
	}()
	err := c.standing(c.epoch)
	if err == nil {
		err = run(ctx, number)
	}
	if err == nil {
		return
	}
	reason := reasonOf(err)
	if reason == session.Broken && !c.peer.gone.Load() {
		c.log.Error("command failed", "err", err)
	}
	c.fail(context.WithoutCancel(ctx), number, reason, err.Error())
	_ = c.frames.Close() // the reader sees the end
}

// answered counts a command of the client.
func (c *conn) answered(name, status string) {
	c.host.counts.answered.add(Answered{name, status})
}

func (c *conn) newSpool(size int64) (imapwire.Spool, error) {
	return c.host.cfg.Spool.Create(size)
}

// release gives back what the executor holds.
func (c *conn) release() {
	if c.executor == nil {
		return
	}
	if err := c.executor.close(); err != nil {
		c.log.Warn("spooled literal could not be removed", "err", err)
	}
}

// sink is where the executor's answers go.
func (c *conn) sink() session.Sink { return &sink{session.FrameSink{W: c.peer}, &c.done} }

func (c *conn) violation(ctx context.Context, text string) error {
	c.log.Error("front end broke the session protocol", "err", text)
	c.fail(ctx, 0, session.Violation, text)
	return fmt.Errorf("%w: %s", errViolation, text)
}

// fail tells the front end that the session cannot go on here.
func (c *conn) fail(ctx context.Context, command uint64, r session.Reason, text string) {
	if int(r) < len(c.host.counts.refused) {
		c.host.counts.refused[r].Add(1)
	}
	f := session.Failed{Command: command, Reason: r, Epoch: c.knownEpoch(), Text: text}
	err := session.Send(ctx, c.frames, f)
	if err != nil && !errors.Is(err, io.EOF) {
		c.log.Debug("front end could not be told why its session ends", "err", err)
	}
}
