package pop3d

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// Errors of message numbers.
var (
	errNumber = errors.New("no such message")
	errMarked = errors.New("message is marked for removal")
)

// lostError is one of the sink, or of a message that broke off: the client has an
// unfinished answer.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// refusals is what errors become: the first entry that matches (RFC 2449 8, RFC 3206).
var refusals = []struct {
	err  error
	line string
}{
	{errNumber, "-ERR No such message"},
	{errMarked, "-ERR Message is marked for removal"},
	{mail.ErrNoMessage, "-ERR Message has been removed meanwhile"},
	{mail.ErrCorrupt, "-ERR [SYS/PERM] Stored message is damaged"},
	{mail.ErrNoPerm, "-ERR [SYS/PERM] No right to do that"},
	{mail.ErrFrozen, "-ERR [SYS/TEMP] Account takes no changes for the moment"},
}

const temporary = "-ERR [SYS/TEMP] Temporary failure, try again later"

// errorLine is the answer to a command that failed with err, or err itself if the
// session cannot go on here.
func (s *Session) errorLine(err error) (string, error) {
	if session.ReasonOf(err) != session.Broken {
		return "", err
	}
	if _, lost := errors.AsType[*lostError](err); lost {
		return "", err
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r.line, nil
		}
	}
	s.log.Error("command failed", "command", s.name, "err", err)
	return temporary, nil
}

func statusOf(line string) string {
	if strings.HasPrefix(line, "-") {
		return "ERR"
	}
	return "OK"
}

// output gives the answer to one command to the sink.
type output struct {
	sink    session.Sink
	command uint64
	units   uint32
	delta   session.Delta // goes with what is told next
}

func (o *output) takeDelta() session.Delta {
	d := o.delta
	o.delta = session.Delta{}
	return d
}

// unit tells octets, whole or not at all.
func (o *output) unit(ctx context.Context, octets []byte) error {
	u := session.Unit{Command: o.command, N: o.units, Delta: o.takeDelta(), Octets: octets}
	o.units++
	return lost(o.sink.Unit(ctx, u))
}

// stream tells a literal.
func (o *output) stream(ctx context.Context, at session.Place, r io.Reader) error {
	return lost(o.sink.Stream(ctx, session.Stream{
		Command: o.command, UID: at.UID, Item: at.Item, Offset: at.Octet, Length: at.Length,
	}, r))
}

// done ends the command.
func (o *output) done(ctx context.Context, line string) error {
	d := session.Done{Command: o.command, Delta: o.takeDelta()}
	if line != "" {
		d.Line = append([]byte(line), "\r\n"...)
	}
	return lost(o.sink.Done(ctx, d))
}

func lost(err error) error {
	if err != nil {
		return &lostError{err}
	}
	return nil
}
