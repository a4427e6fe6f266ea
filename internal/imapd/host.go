package imapd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// Frames is a session's stream; link.Frames is one, with session.MaxFrame.
type Frames interface {
	session.FrameReader
	session.FrameWriter
	// Close sends what is queued and lets Read return.
	Close() error
}

// Host runs sessions for front ends. Open is required.
type Host struct {
	// Open finds the account and says who serves it; the answer's Version and Fork
	// are the Host's to fill in. mail.ErrMoved, mail.ErrBusy.
	Open func(ctx context.Context, o session.Open) (mail.Account, session.Opened, error)
	// Spool makes room for a large literal; nil: all stay in memory.
	Spool   func(size int64) (imapwire.Spool, error)
	Version string
	Now     func() time.Time
	Log     *slog.Logger
}

// maxQueued is how many commands of a session wait while one runs.
const maxQueued = 16

// served is one session of a Host.
type served struct {
	*Host
	f      Frames
	s      *Session
	opened session.Opened
	queue  chan queued
}

// queued is a command, or with watch what Session.Watch does.
type queued struct {
	Command
	watch bool
}

// Serve runs one session until its stream or ctx ends; it closes f. A session that
// fails tells the front end why. A panic ends its session alone. nil: the front
// end closed the session.
func (h *Host) Serve(ctx context.Context, f Frames) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = f.Close() })()
	defer f.Close()
	v := &served{Host: h, f: f, queue: make(chan queued, maxQueued)}
	if err := v.begin(ctx); err != nil {
		return err
	}
	executed := make(chan error, 1)
	go func() {
		executed <- v.execute(ctx)
		cancel()
	}()
	read := v.read(ctx)
	if errors.Is(read, session.ErrMalformed) {
		read = v.failed(ctx, 0, session.Violation, read)
	}
	cancel()
	close(v.queue)
	err := <-executed
	for c := range v.queue {
		_ = c.Raw.Close() // of no use any more
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return read
}

// begin answers Open.
func (v *served) begin(ctx context.Context) error {
	first, err := session.Receive(v.f)
	if err != nil {
		return err
	}
	o, ok := first.(session.Open)
	if !ok || o.Version != session.Version || o.Protocol != session.IMAP {
		return v.failed(ctx, 0, session.Violation, fmt.Errorf("session begins with %T", first))
	}
	if len(o.Token) > 0 {
		return v.failed(ctx, 0, session.NotResumable, errors.New("sessions are not resumed by this release"))
	}
	account, opened, err := v.Open(ctx, o)
	if err != nil {
		return v.failed(ctx, 0, ReasonOf(err), fmt.Errorf("open account %s: %w", o.Account, err))
	}
	v.opened = opened
	v.opened.Version = session.Version
	if v.opened.Fork, err = fork(ctx, account); err != nil {
		return v.failed(ctx, 0, ReasonOf(err), fmt.Errorf("open account %s: %w", o.Account, err))
	}
	v.s = New(Config{
		Account: account, Session: o.Session, User: o.User, By: o.By, Remote: o.Remote,
		Sink: session.FrameSink{W: v.f}, Version: v.Version, Now: v.Now, Log: v.Log,
	})
	return session.Send(ctx, v.f, v.opened)
}

// fork is that of an account which exists.
func fork(ctx context.Context, a mail.Account) (uint64, error) {
	v, err := a.View(ctx)
	if err != nil {
		return 0, err
	}
	defer v.Close()
	info, err := v.Account()
	return info.Fork, err
}

// failed tells the front end that the session ends, and returns why.
func (v *served) failed(ctx context.Context, command uint64, reason session.Reason, err error) error {
	f := session.Failed{Command: command, Reason: reason, Epoch: v.opened.Epoch, Text: reason.String()}
	return errors.Join(err, session.Send(context.WithoutCancel(ctx), v.f, f))
}

// execute runs the commands in order.
func (v *served) execute(ctx context.Context) (err error) {
	for c := range v.queue {
		err := v.one(ctx, c)
		if closeErr := c.Raw.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return v.failed(ctx, c.Number, ReasonOf(err), fmt.Errorf("command %d: %w", c.Number, err))
		}
	}
	return nil
}

// one runs one command. A panic is an error of this session.
func (v *served) one(ctx context.Context, c queued) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if c.watch {
		return v.s.Watch(ctx, c.Number)
	}
	return v.s.Execute(ctx, c.Command)
}

// read gathers commands and hands them on, until the stream ends.
func (v *served) read(ctx context.Context) error {
	c := imapwire.NewCollector(imapwire.Limits{}, v.Spool)
	defer func() { _ = c.Close() }()
	last := uint64(0)
	for {
		f, err := session.Receive(v.f)
		if err != nil {
			return err
		}
		switch f := f.(type) {
		case session.Command:
			if f.Number <= last {
				return fmt.Errorf("command %d after %d: %w", f.Number, last, session.ErrMalformed)
			}
			if err := feed(c, f); err != nil {
				return err
			}
			if !f.Last {
				continue
			}
			last = f.Number
			if err := v.enqueue(ctx, queued{Command: Command{Number: f.Number, Raw: c.Take()}}); err != nil {
				return err
			}
		case session.Watch:
			if f.Number <= last {
				return fmt.Errorf("watch %d after %d: %w", f.Number, last, session.ErrMalformed)
			}
			last = f.Number
			if err := v.enqueue(ctx, queued{Command: Command{Number: f.Number}, watch: true}); err != nil {
				return err
			}
		case session.EndIdle:
			v.s.EndIdle(f.Number)
		case session.Close:
			return nil
		default:
			return fmt.Errorf("frame %T of a front end: %w", f, session.ErrMalformed)
		}
	}
}

func (v *served) enqueue(ctx context.Context, c queued) error {
	select {
	case v.queue <- c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// feed adds the octets of a frame, the last of which ends the command.
func feed(c *imapwire.Collector, f session.Command) error {
	p := f.Octets
	for {
		n, step, err := c.Feed(p)
		p = p[n:]
		switch {
		case err != nil:
			return fmt.Errorf("command %d: %w", f.Number, err)
		case step == imapwire.Whole && f.Last && len(p) == 0:
			return nil
		case step == imapwire.Whole || len(p) == 0 && f.Last:
			return fmt.Errorf("command %d is not one command: %w", f.Number, session.ErrMalformed)
		case len(p) == 0:
			return nil
		}
	}
}
