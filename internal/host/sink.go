package host

import (
	"context"
	"sync/atomic"

	"github.com/tandemail/tandemail/internal/session"
)

// sink is the executor's sink: it notes a Done before that leaves, since the next
// command may follow at once.
type sink struct {
	session.FrameSink
	done *atomic.Bool
}

// Done implements session.Sink.
func (s *sink) Done(ctx context.Context, d session.Done) error {
	s.done.Store(true)
	return s.FrameSink.Done(ctx, d)
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
