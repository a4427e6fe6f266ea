package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/imapd"
	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/pop3d"
	"github.com/tandemail/tandemail/internal/session"
)

// executor is a client protocol at its master: it takes in one command after the
// other, and executes each beside the goroutine that takes in.
type executor interface {
	// begin makes the session as new; resume, what the token describes.
	begin(ctx context.Context) error
	resume(ctx context.Context, t *session.Token) error
	// feed takes octets of a command in, up to its end.
	feed(p []byte) (n int, whole bool, err error)
	// execute runs the command that is whole, and gives back what it holds.
	execute(ctx context.Context, number uint64) error
	// watch tells what the client asked to be told of, until endIdle.
	watch(ctx context.Context, number uint64) error
	endIdle(number uint64)
	// close gives back everything.
	close() error
}

// newExecutor makes what executes the session that was opened; nil for a protocol
// that is not served.
func (c *conn) newExecutor(account mail.Account) executor {
	o := &c.open
	switch o.Protocol {
	case session.IMAP:
		var others imapd.Others
		if c.host.cfg.Others != nil {
			others = c.host.cfg.Others(*o)
		}
		return &imapExecutor{
			collector: imapwire.NewCollector(limits(), c.newSpool),
			session: imapd.New(imapd.Config{
				Account: account, Session: o.Session, User: o.User, By: o.By, Remote: o.Remote, Sink: c.sink(),
				Version: c.host.cfg.Version, Now: c.host.cfg.Now, Log: c.log, Answered: c.answered,
				Others: others, Pictures: c.host.pictures,
			}),
		}
	case session.POP3:
		return &pop3Executor{
			since: c.slot.Standing().Since,
			session: pop3d.New(pop3d.Config{
				Account: account, ID: o.Account, Session: o.Session, User: o.User, By: o.By, Remote: o.Remote, Sink: c.sink(),
				Locks: &c.host.maildrops, Log: c.log, Answered: c.answered,
			}),
		}
	}
	return nil
}

type imapExecutor struct {
	collector *imapwire.Collector
	session   *imapd.Session
	raw       imapwire.Raw // the command that is whole
}

func (e *imapExecutor) begin(context.Context) error { return nil }

func (e *imapExecutor) resume(ctx context.Context, t *session.Token) error {
	return e.session.Resume(ctx, t)
}

func (e *imapExecutor) feed(p []byte) (int, bool, error) {
	n, step, err := e.collector.Feed(p)
	if err != nil || step != imapwire.Whole {
		return n, false, err
	}
	e.raw = e.collector.Take()
	return n, true, nil
}

func (e *imapExecutor) execute(ctx context.Context, number uint64) (err error) {
	defer func() { err = errors.Join(err, e.release()) }()
	return e.session.Execute(ctx, imapd.Command{Number: number, Raw: e.raw})
}

func (e *imapExecutor) release() error {
	raw := e.raw
	e.raw = imapwire.Raw{}
	return raw.Close()
}

func (e *imapExecutor) watch(ctx context.Context, number uint64) error {
	return e.session.Watch(ctx, number)
}

func (e *imapExecutor) endIdle(number uint64) { e.session.EndIdle(number) }

func (e *imapExecutor) close() error {
	e.session.Close()
	return errors.Join(e.release(), e.collector.Close())
}

type pop3Executor struct {
	session *pop3d.Session
	since   time.Duration // this machine is master
	line    []byte
}

func (e *pop3Executor) begin(ctx context.Context) error { return e.session.Begin(ctx, e.since) }

func (e *pop3Executor) resume(ctx context.Context, t *session.Token) error {
	return e.session.Resume(ctx, t, e.since)
}

func (e *pop3Executor) feed(p []byte) (int, bool, error) {
	n := bytes.IndexByte(p, '\n') + 1
	whole := n > 0
	if !whole {
		n = len(p)
	}
	if len(e.line)+n > pop3d.MaxLine {
		return n, false, fmt.Errorf("command of more than %d octets: %w", pop3d.MaxLine, session.ErrMalformed)
	}
	e.line = append(e.line, p[:n]...)
	return n, whole, nil
}

func (e *pop3Executor) execute(ctx context.Context, number uint64) error {
	line := bytes.TrimRight(e.line, "\r\n")
	defer func() { e.line = e.line[:0] }()
	return e.session.Execute(ctx, pop3d.Command{Number: number, Line: line})
}

// watch fails: there is nothing in POP3 to be told of.
func (e *pop3Executor) watch(context.Context, uint64) error {
	return fmt.Errorf("watch in POP3: %w", session.ErrMalformed)
}

func (e *pop3Executor) endIdle(uint64) {}

func (e *pop3Executor) close() error { e.session.Close(); return nil }
