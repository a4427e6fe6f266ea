package accept

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// feed is a listener that gives what the test puts in: connections and errors.
type feed struct {
	in     chan any
	closed chan struct{}
	once   sync.Once
}

func newFeed() *feed { return &feed{in: make(chan any), closed: make(chan struct{})} }

func (f *feed) Accept() (net.Conn, error) {
	select {
	case x := <-f.in:
		if err, ok := x.(error); ok {
			return nil, err
		}
		return x.(net.Conn), nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

func (f *feed) Close() error   { f.once.Do(func() { close(f.closed) }); return nil }
func (f *feed) Addr() net.Addr { return &net.TCPAddr{} }

type addressed struct {
	net.Conn
	addr string
}

func (a addressed) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(a.addr))
}

// connect gives the listener a connection from addr and returns the peer's end.
func (f *feed) connect(addr string) net.Conn {
	peer, ours := net.Pipe()
	f.in <- addressed{ours, addr}
	return peer
}

// guest is a connection that says hello, and ends when it is told to or its peer goes.
type guest struct {
	net.Conn
	interrupted chan struct{}
	stubborn    bool // does not listen to Interrupt
	hurried     error
}

func (g *guest) Serve(ctx context.Context) {
	defer g.Conn.Close()
	_, _ = io.WriteString(g, "hello\n")
	gone := make(chan struct{})
	go func() { _, _ = g.Read(make([]byte, 1)); close(gone) }()
	if g.stubborn {
		<-gone
		g.hurried = ctx.Err()
		return
	}
	select {
	case <-g.interrupted:
		_, _ = io.WriteString(g, "bye\n")
	case <-gone:
	}
}

func (g *guest) Interrupt() { close(g.interrupted) }

// party is a server of guests.
type party struct {
	*Server[*guest]
	feed   *feed
	log    bytes.Buffer
	last   *guest
	cancel context.CancelFunc
	served chan error
}

// open runs a server in a synctest bubble.
func open(cfg Config, stubborn bool) *party {
	p := &party{feed: newFeed(), served: make(chan error, 1)}
	cfg.Log = slog.New(slog.NewTextHandler(&p.log, nil))
	p.Server = New[*guest](cfg)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	h := Handler[*guest]{
		Begin: func(nc net.Conn) *guest {
			p.last = &guest{Conn: nc, interrupted: make(chan struct{}), stubborn: stubborn}
			return p.last
		},
		Refuse: func(why Refusal) []byte { return []byte("sorry: " + why.String() + "\n") },
	}
	go func() { p.served <- p.Serve(ctx, p.feed, h) }()
	return p
}

// close ends the server in order and waits for it.
func (p *party) close(t *testing.T) {
	t.Helper()
	p.cancel()
	if err := <-p.served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func expect(t *testing.T, nc net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

const (
	full    = "sorry: too many connections\n"
	crowded = "sorry: too many connections of one address\n"
)

func TestConnectionsOverTheLimitAreToldSoAndHarmNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(Config{Max: 2}, false)
		a, b := p.feed.connect("127.0.0.1:1"), p.feed.connect("127.0.0.1:2")
		expect(t, a, "hello\n")
		expect(t, b, "hello\n")
		for range 50 {
			c := p.feed.connect("127.0.0.1:3")
			expect(t, c, full)
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Fatalf("still open: %v", err)
			}
		}
		if n := strings.Count(p.log.String(), "connections refused"); n != 1 {
			t.Errorf("logged %d times: %s", n, &p.log)
		}
		time.Sleep(refusalPause) // virtual
		expect(t, p.feed.connect("127.0.0.1:3"), full)
		if !strings.Contains(p.log.String(), "count=50") {
			t.Errorf("logged %s", &p.log)
		}
		_ = a.Close()
		synctest.Wait()
		d := p.feed.connect("127.0.0.1:4")
		expect(t, d, "hello\n")
		go p.close(t)
		expect(t, b, "bye\n")
		expect(t, d, "bye\n")
	})
}

func TestOneAddressDoesNotTakeAllPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(Config{Max: 6, PerAddress: 1, Exempt: func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.1") }}, false)
		for _, tc := range []struct{ addr, want string }{
			{"192.0.2.1:1", "hello\n"},
			{"192.0.2.1:2", crowded},
			{"[::ffff:192.0.2.1]:3", crowded},
			{"192.0.2.2:1", "hello\n"},
			{"[2001:db8::1]:1", "hello\n"},
			{"[2001:db8::2]:1", crowded}, // one subscriber
			{"[2001:db8:0:1::1]:1", "hello\n"},
			{"10.0.0.1:1", "hello\n"},
			{"10.0.0.1:2", "hello\n"},
			{"10.0.0.1:3", full}, // is not counted, but the whole is
		} {
			nc := p.feed.connect(tc.addr)
			expect(t, nc, tc.want)
			defer nc.Close()
		}
		for _, c := range p.All() {
			_ = c.Close()
		}
		synctest.Wait()
		if n := p.Len(); n != 0 {
			t.Fatalf("%d connections are left", n)
		}
		nc := p.feed.connect("192.0.2.1:9")
		expect(t, nc, "hello\n") // the place was given back
		_ = nc.Close()
		p.close(t)
	})
}

func TestTemporaryErrorsNeitherSpinNorEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(Config{Max: 1}, false)
		begun := time.Now()
		const failures = 20
		for range failures {
			p.feed.in <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		nc := p.feed.connect("127.0.0.1:1")
		expect(t, nc, "hello\n")
		// 5 ms doubled eight times, then a second each.
		if took := time.Since(begun); took < 10*time.Second || took > failures*time.Second {
			t.Errorf("%d failures took %v", failures, took)
		}
		_ = nc.Close()
		synctest.Wait()
		p.feed.in <- &net.OpError{Op: "accept", Err: syscall.ECONNABORTED}
		begun = time.Now()
		nc = p.feed.connect("127.0.0.1:1")
		expect(t, nc, "hello\n")
		if took := time.Since(begun); took > 5*time.Millisecond {
			t.Errorf("the pause is still %v after a success", took)
		}
		_ = nc.Close()
		p.close(t)
	})
}

func TestEndInsideAPauseDoesNotWaitForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(Config{Max: 1}, false)
		for range 12 {
			p.feed.in <- errors.New("anything")
		}
		synctest.Wait()
		begun := time.Now()
		p.close(t)
		if took := time.Since(begun); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}

func TestListenerClosedByOthersIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(Config{Max: 1, What: "visitor"}, false)
		nc := p.feed.connect("127.0.0.1:1")
		expect(t, nc, "hello\n")
		_ = p.feed.Close()
		expect(t, nc, "bye\n")
		if err := <-p.served; !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "accept visitor") {
			t.Errorf("got %v", err)
		}
		p.cancel()
	})
}

func TestStubbornConnectionsAreClosedWhenTheDrainIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(Config{Max: 1, Drain: time.Minute}, true)
		nc := p.feed.connect("127.0.0.1:1")
		expect(t, nc, "hello\n")
		begun := time.Now()
		p.cancel()
		if err := <-p.served; err != nil || time.Since(begun) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if p.last.hurried == nil {
			t.Error("the context did not end")
		}
		if !p.Stopping() {
			t.Error("not stopping")
		}
	})
}
