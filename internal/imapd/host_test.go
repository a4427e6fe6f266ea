package imapd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// wire is one end of a stream of frames in memory.
type wire struct {
	in, out chan session.Frame
	closed  chan struct{}
	once    *sync.Once
}

func newWire() (front, back *wire) {
	a, b := make(chan session.Frame, 1000), make(chan session.Frame, 1000)
	closed, once := make(chan struct{}), new(sync.Once)
	return &wire{a, b, closed, once}, &wire{b, a, closed, once}
}

func (w *wire) Write(_ context.Context, kind byte, parts ...[]byte) error {
	f, err := session.Decode(session.Kind(kind), bytes.Join(parts, nil))
	if err != nil {
		return err
	}
	select {
	case <-w.closed:
		return io.ErrClosedPipe
	case w.out <- f:
		return nil
	}
}

func (w *wire) Read() (byte, []byte, error) {
	var f session.Frame
	select {
	case f = <-w.in:
	default:
		select {
		case f = <-w.in:
		case <-w.closed:
			select { // what was sent before the end
			case f = <-w.in:
			default:
				return 0, nil, io.EOF
			}
		}
	}
	kind, head, octets := session.Encode(f)
	return byte(kind), append(head, octets...), nil
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

// serve starts a session and returns the front end's end, and how Serve ends.
func serve(t *testing.T, a mail.Account) (*wire, <-chan error) {
	t.Helper()
	h := &Host{
		Open: func(_ context.Context, o session.Open) (mail.Account, session.Opened, error) {
			if o.User != "ann" {
				return nil, session.Opened{}, mail.ErrMoved
			}
			return a, session.Opened{Epoch: 3}, nil
		},
		Now: testNow,
	}
	front, back := newWire()
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(t.Context(), back) }()
	t.Cleanup(func() { _ = front.Close() })
	return front, ended
}

func (w *wire) send(t *testing.T, frames ...session.Frame) {
	t.Helper()
	for _, f := range frames {
		if err := session.Send(t.Context(), w, f); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *wire) receive(t *testing.T) session.Frame {
	t.Helper()
	f, err := session.Receive(w)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var opening = session.Open{Version: session.Version, Protocol: session.IMAP, Session: mail.SessionID{1}, User: "ann"}

func TestSessionRunsOverFrames(t *testing.T) {
	w, ended := serve(t, newAccount(t))
	w.send(t, opening)
	if f := w.receive(t); f != session.Frame(session.Opened{Version: session.Version, Epoch: 3}) {
		t.Fatalf("got %+v", f)
	}
	w.send(t,
		session.Command{Number: 1, Octets: []byte("a APPEND INBOX {4}\r\nab")},
		session.Command{Number: 1, Last: true, Octets: []byte("cd\r\n")},
		session.Command{Number: 2, Last: true, Octets: []byte("b SELECT INBOX\r\n")},
		session.Command{Number: 3, Last: true, Octets: []byte("c IDLE\r\n")},
		session.EndIdle{Number: 3},
		session.Command{Number: 4, Last: true, Octets: []byte("d NOOP\r\n")},
	)
	var tok session.Token
	var done []string
	for len(done) < 4 {
		var d session.Delta
		switch f := w.receive(t).(type) {
		case session.Unit:
			d = f.Delta
		case session.Done:
			d = f.Delta
			done = append(done, string(f.Line[:4]))
		default:
			t.Fatalf("got %+v", f)
		}
		if err := tok.Apply(d); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(done, ","); got != "a OK,b OK,c OK,d OK" || tok.Selected == nil || tok.Selected.Count != 1 || tok.IdleTag != "" {
		t.Errorf("got %s, %+v", got, tok)
	}
	w.send(t, session.Close{})
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestFrontEndThatGoesEndsAnIdle(t *testing.T) {
	w, ended := serve(t, newAccount(t))
	w.send(t, opening, session.Command{Number: 1, Last: true, Octets: []byte("c IDLE\r\n")})
	w.receive(t)
	w.receive(t) // "+ idling"
	_ = w.Close()
	<-ended
}

// panicking is an account with a bug.
type panicking struct{ mail.Account }

func (panicking) Watch(mail.MailboxID) (<-chan struct{}, func()) { panic("a bug") }

func TestFailuresTellTheFrontEndWhy(t *testing.T) {
	stranger := opening
	stranger.User = "bob"
	resumed := opening
	resumed.Token = []byte("x")
	old := opening
	old.Version = 99
	command := func(s string) session.Frame {
		return session.Command{Number: 1, Last: true, Octets: []byte(s)}
	}
	for _, x := range []struct {
		name   string
		frames []session.Frame
		want   session.Reason
	}{
		{"account elsewhere", []session.Frame{stranger}, session.Moved},
		{"token", []session.Frame{resumed}, session.NotResumable},
		{"version", []session.Frame{old}, session.Violation},
		{"no opening", []session.Frame{session.Close{}}, session.Violation},
		{"panic", []session.Frame{opening, command("a SELECT INBOX\r\n"), session.Command{Number: 2, Last: true, Octets: []byte("b IDLE\r\n")}}, session.Broken},
		{"two commands in one", []session.Frame{opening, command("a NOOP\r\nb NOOP\r\n")}, session.Violation},
		{"half a command", []session.Frame{opening, command("a NOO")}, session.Violation},
		{"a master's frame", []session.Frame{opening, session.Opened{}}, session.Violation},
	} {
		t.Run(x.name, func(t *testing.T) {
			w, ended := serve(t, panicking{newAccount(t)})
			w.send(t, x.frames...)
			for {
				got, ok := w.receive(t).(session.Failed)
				if ok && got.Reason != x.want {
					t.Errorf("got %+v", got)
				}
				if ok {
					break
				}
			}
			if err := <-ended; err == nil || errors.Is(err, context.Canceled) {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}
