package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

var quiet = slog.New(slog.DiscardHandler)

// callPair runs a Caller and a Responder over a pipe. Call the returned function
// to end both and wait.
func callPair(t *testing.T, cc CallerConfig, rc ResponderConfig, h RequestHandler) (c *Caller, end func()) {
	t.Helper()
	a, b := net.Pipe()
	rc.Log = quiet
	c = NewCaller(NewFrames(a, FramesConfig{MaxFrame: 1 << 20}), cc)
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Run(context.Background()) })
	wg.Go(func() { _ = Respond(context.Background(), NewFrames(b, FramesConfig{MaxFrame: 1 << 20}), rc, h) })
	return c, func() { _ = c.Close(); wg.Wait() }
}

func echo(_ context.Context, q []byte) ([]byte, error) {
	return append([]byte("re "), q...), nil
}

func TestEachCallGetsItsOwnAnswer(t *testing.T) {
	c, end := callPair(t, CallerConfig{MaxInFlight: 8}, ResponderConfig{MaxInFlight: 4}, echo)
	defer end()
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for n := range 50 {
				q := bytes.Repeat(fmt.Appendf(nil, "%d/%d ", i, n), n)
				got, err := c.Call(context.Background(), q[:len(q)/2], q[len(q)/2:])
				if err != nil || !bytes.Equal(got, append([]byte("re "), q...)) {
					t.Errorf("%d/%d: %q, %v", i, n, got, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestErrorsOfTheHandlerReachTheCaller(t *testing.T) {
	c, end := callPair(t, CallerConfig{}, ResponderConfig{}, func(_ context.Context, q []byte) ([]byte, error) {
		switch string(q) {
		case "panic":
			panic("bug")
		case "large":
			return make([]byte, 1<<20), nil
		}
		return nil, errors.New("no such thing")
	})
	defer end()
	var remote *RemoteError
	if _, err := c.Call(context.Background(), []byte("x")); !errors.As(err, &remote) || remote.Text != "no such thing" {
		t.Errorf("got %v", err)
	}
	for _, q := range []string{"panic", "large"} {
		if _, err := c.Call(context.Background(), []byte(q)); !errors.Is(err, cluster.ErrUnknown) || errors.Is(err, ErrNotSent) {
			t.Errorf("%s: %v", q, err)
		}
	}
	if _, err := c.Call(context.Background(), make([]byte, 1<<20)); !errors.Is(err, ErrNotSent) {
		t.Errorf("request over the limit: %v", err)
	}
	if _, err := c.Call(context.Background(), []byte("x")); !errors.As(err, &remote) {
		t.Errorf("the stream did not survive: %v", err)
	}
}

func TestLostConnectionTellsUnknownFromNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memConn{gate: make(chan struct{})}
		cut := make(chan struct{})
		m.in = readerFunc(func([]byte) (int, error) { <-cut; return 0, io.ErrUnexpectedEOF })
		c := NewCaller(NewFrames(m, FramesConfig{}), CallerConfig{})
		go func() { _ = c.Run(context.Background()) }()
		results := make([]chan error, 3)
		for i := range results {
			results[i] = make(chan error, 1)
			go func() {
				_, err := c.Call(context.Background(), []byte("q"))
				results[i] <- err
			}()
			synctest.Wait()
			if i == 0 {
				m.gate <- struct{}{} // written; the second is in a write that hangs
				synctest.Wait()
			}
		}
		close(cut)
		for i, want := range []error{cluster.ErrUnknown, cluster.ErrUnknown, ErrNotSent} {
			if err := <-results[i]; !errors.Is(err, want) || errors.Is(err, ErrNotSent) != (want == ErrNotSent) {
				t.Errorf("call %d: %v, want %v", i, err, want)
			}
		}
		if _, err := c.Call(context.Background()); !errors.Is(err, ErrNotSent) {
			t.Errorf("after the end: %v", err)
		}
		close(m.gate)
		synctest.Wait()
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestCallGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		var left time.Duration
		c, end := callPair(t, CallerConfig{MaxInFlight: 1}, ResponderConfig{}, func(ctx context.Context, _ []byte) ([]byte, error) {
			d, _ := ctx.Deadline()
			left = time.Until(d)
			<-goOn
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		first := make(chan error, 1)
		go func() { _, err := c.Call(ctx); first <- err }()
		synctest.Wait()
		if left != 3*time.Second {
			t.Errorf("the handler had %v", left)
		}
		short, cancelShort := context.WithTimeout(context.Background(), time.Second)
		defer cancelShort()
		if _, err := c.Call(short); !errors.Is(err, ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("call without a place: %v", err)
		}
		if err := <-first; !errors.Is(err, cluster.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("call without an answer: %v", err)
		}
		close(goOn)
		var remote *RemoteError
		if _, err := c.Call(context.Background()); err != nil && !errors.As(err, &remote) {
			t.Errorf("the place was not given back: %v", err)
		}
		end()
	})
}

func TestBusyResponderIsNotTakenForDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, end := callPair(t, CallerConfig{}, ResponderConfig{MaxInFlight: 1}, func(context.Context, []byte) ([]byte, error) {
			time.Sleep(20 * time.Second) // virtual
			return []byte("late"), nil
		})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if got, err := c.Call(context.Background()); err != nil || string(got) != "late" {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
		wg.Wait()
		end()
	})
}

func TestSilentPeerIsTakenForDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, b) }()
		c := NewCaller(NewFrames(a, FramesConfig{}), CallerConfig{})
		begin := time.Now()
		done := make(chan error, 1)
		go func() { done <- c.Run(context.Background()) }()
		if _, err := c.Call(context.Background()); !errors.Is(err, cluster.ErrUnknown) || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took != 3*heartbeat {
			t.Errorf("noticed after %v", took)
		}
		<-done
		_ = b.Close()
	})
}

func TestGarbageInsteadOfAnswersOrRequestsEndsTheStream(t *testing.T) {
	for _, in := range []string{"GET / HTTP/1.1\r\n\r\n", "\x00\x00\x00\x03\x02ab", "\x00\x00\x00\x09\x63abcdefgh", "\x00\x00\x00\x0a\x03\x00\x00\x00\x00\x00\x00\x00\x01\x63"} {
		c := NewCaller(NewFrames(&memConn{in: strings.NewReader(in)}, FramesConfig{}), CallerConfig{})
		if err := c.Run(context.Background()); !errors.Is(err, ErrProtocol) {
			t.Errorf("caller on %q: %v", in, err)
		}
		err := Respond(context.Background(), NewFrames(&memConn{in: strings.NewReader(in)}, FramesConfig{}), ResponderConfig{Log: quiet}, echo)
		if !errors.Is(err, ErrProtocol) {
			t.Errorf("responder on %q: %v", in, err)
		}
	}
}
