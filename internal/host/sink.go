package host

import (
	"context"
	"io"
	"sync/atomic"

	"github.com/tandemail/tandemail/internal/session"
)

// sink is the executor's sink for the life of the session: answers go to the
// front end, or nowhere while a token is redeemed.
type sink struct {
	to   session.Sink
	done *atomic.Bool // set before a Done leaves: the next command may follow at once
	kept *kept        // not nil: nothing leaves
}

// watchedWriter remembers that the front end could not be reached.
type watchedWriter struct {
	session.FrameWriter
	gone atomic.Bool
}

// Write implements session.FrameWriter.
func (w *watchedWriter) Write(ctx context.Context, kind byte, parts ...[]byte) error {
	err := w.FrameWriter.Write(ctx, kind, parts...)
	if err != nil {
		w.gone.Store(true)
	}
	return err
}

// kept is what the executor answered while a token was redeemed.
type kept struct {
	delta session.Delta
	line  []byte
}

// Unit implements session.Sink.
func (s *sink) Unit(ctx context.Context, u session.Unit) error {
	if s.kept != nil {
		s.kept.delta.Merge(u.Delta)
		return nil
	}
	return s.to.Unit(ctx, u)
}

// Stream implements session.Sink.
func (s *sink) Stream(ctx context.Context, st session.Stream, r io.Reader) error {
	if s.kept != nil {
		return errNotResumable // no command of redeem has literals
	}
	return s.to.Stream(ctx, st, r)
}

// Done implements session.Sink.
func (s *sink) Done(ctx context.Context, d session.Done) error {
	if s.kept != nil {
		s.kept.delta.Merge(d.Delta)
		s.kept.line = append(s.kept.line[:0], d.Line...)
		return nil
	}
	s.done.Store(true)
	return s.to.Done(ctx, d)
}
