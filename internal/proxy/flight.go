package proxy

import (
	"context"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/session"
)

// flight is a command of the client that has no tagged line yet.
type flight struct {
	number uint64
	tag    string
	raw    imapwire.Raw // its octets, until it is answered
	idle   bool         // it lasts until the client ends it
	watch  bool         // it is none of the client's: it lasts until the client sends something

	sent  int       // how often
	until time.Time // a master must be found by then; zero: none is missing

	// Of IDLE, once the client has been told that it may wait, and of a watch.
	listening chan listened // has what the client sends then; nil before
	ended     bool          // the client has ended it
	garbled   bool          // with something else than DONE
}

// listened is the line that ends an IDLE or a watch, or why none came.
type listened struct {
	line []byte
	err  error
}

// piece is how many octets of a command one frame has, so that it fits the
// master's read buffer: a large literal leaves nothing behind there.
const piece = 4000

// send sends the whole command.
func (f *flight) send(ctx context.Context, b Backend) error {
	if f.watch {
		return session.Send(ctx, b, session.Watch{Number: f.number})
	}
	w := &pieces{ctx: ctx, b: b, number: f.number, buf: make([]byte, 0, min(piece, f.raw.Size()))}
	if _, err := f.raw.WriteTo(w); err != nil {
		return fmt.Errorf("send command: %w", err)
	}
	return w.end()
}

// pieces writes Command frames.
type pieces struct {
	ctx    context.Context
	b      Backend
	number uint64
	buf    []byte
}

// Write implements io.Writer.
func (w *pieces) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if len(w.buf) == piece {
			if err := w.flush(false); err != nil {
				return 0, err
			}
		}
		n := min(piece-len(w.buf), len(rest))
		w.buf = append(w.buf, rest[:n]...)
		rest = rest[n:]
	}
	return len(p), nil
}

func (w *pieces) end() error { return w.flush(true) }

func (w *pieces) flush(last bool) error {
	err := session.Send(w.ctx, w.b, session.Command{Number: w.number, Last: last, Octets: w.buf})
	w.buf = w.buf[:0]
	return err
}
