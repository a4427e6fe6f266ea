package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/accept"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/pki"
)

// site is a CA and its machines.
type site struct {
	t  testing.TB
	ca *pki.CA
}

func newSite(t testing.TB) *site {
	t.Helper()
	ca, err := pki.CreateCA(t.TempDir(), "test", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return &site{t, ca}
}

func (s *site) machine(m cluster.Machine) *pki.Identity {
	s.t.Helper()
	dir := filepath.Join(s.t.TempDir(), "pki")
	req, err := pki.NewRequest(dir, m)
	if err != nil {
		s.t.Fatal(err)
	}
	cert, _, _, err := s.ca.Sign(req)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := pki.Install(dir, cert, s.ca.CertPEM()); err != nil {
		s.t.Fatal(err)
	}
	id, err := pki.Load(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

func anyone(cluster.Machine, pki.KeyID) error { return nil }

// logged is a log that can be read.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
	new chan struct{}
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p)
	select {
	case l.new <- struct{}{}:
	default:
	}
	return len(p), nil
}

// await waits until the log has a line with want.
func (l *logged) await(t *testing.T, want string) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		l.mu.Lock()
		s := l.buf.String()
		l.mu.Unlock()
		if strings.Contains(s, want) {
			return
		}
		select {
		case <-l.new:
		case <-timeout:
			t.Fatalf("not in the log: %q\n%s", want, s)
		}
	}
}

// start runs a server on loopback and returns its address and a way to stop it.
func start(t testing.TB, cfg ServerConfig, addr string) (string, func()) {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = quiet
	}
	if cfg.Allowed == nil {
		cfg.Allowed = anyone
	}
	srv, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, ln) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return ln.Addr().String(), stop
}

func dialer(id *pki.Identity, addr string) *Dialer {
	return &Dialer{
		Identity: id, Allowed: anyone, Log: quiet,
		Address: func(cluster.Machine) (string, error) { return addr, nil },
	}
}

func echoStream(_ context.Context, s *Stream) {
	_, _ = fmt.Fprintf(s, "%s to %s %s:", s.Peer.Machine, s.Service, s.Meta)
	_, _ = io.Copy(s, s)
}

func respondEcho(ctx context.Context, s *Stream) {
	_ = Respond(ctx, NewFrames(s, FramesConfig{}), ResponderConfig{Log: quiet}, echo)
}

func exchange(t *testing.T, s *Stream, send, want string) {
	t.Helper()
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(s, send); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(s, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
	_ = s.Close()
}

func TestStreamReachesItsServiceWithTheCallersIdentity(t *testing.T) {
	s := newSite(t)
	services := map[string]Handler{"echo": echoStream}
	addr, _ := start(t, ServerConfig{Identity: s.machine("m1"), Mux: services, Raw: services}, "127.0.0.1:0")
	d := dialer(s.machine("m2"), addr)
	ctx := context.Background()

	raw, err := d.Raw(ctx, "m1", "echo", []byte("meta"))
	if err != nil {
		t.Fatal(err)
	}
	if raw.Peer.Machine != "m1" {
		t.Fatalf("connected to %s", raw.Peer.Machine)
	}
	exchange(t, raw, "hello", "m2 to echo meta:hello")

	p := NewPool(d)
	defer p.Close()
	for range 20 {
		st, err := p.Open(ctx, "m1", "echo", nil)
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, st, "hi", "m2 to echo :hi")
	}
}

func TestUnknownServiceIsAClearErrorAndCostsOneStream(t *testing.T) {
	s := newSite(t)
	addr, _ := start(t, ServerConfig{Identity: s.machine("m1"), Mux: map[string]Handler{"echo": echoStream}}, "127.0.0.1:0")
	d := dialer(s.machine("m2"), addr)
	p := NewPool(d)
	defer p.Close()
	var refused *RefusedError
	if _, err := p.Open(context.Background(), "m1", "nonsense", nil); !errors.As(err, &refused) || refused.Service != "nonsense" {
		t.Fatalf("got %v", err)
	}
	if _, err := d.Raw(context.Background(), "m1", "echo", nil); !errors.As(err, &refused) {
		t.Fatalf("a mux service answers on a raw connection: %v", err)
	}
	st, err := p.Open(context.Background(), "m1", "echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, st, "hi", "m2 to echo :hi")
}

func TestStreamsOverTheLimitAreRefused(t *testing.T) {
	s := newSite(t)
	addr, _ := start(t, ServerConfig{Identity: s.machine("m1"), MaxStreams: 1, MaxConns: 1, Mux: map[string]Handler{"echo": echoStream}}, "127.0.0.1:0")
	p := NewPool(dialer(s.machine("m2"), addr))
	defer p.Close()
	p.k.max = 1
	st, err := p.Open(context.Background(), "m1", "echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	var refused *RefusedError
	if _, err := p.Open(context.Background(), "m1", "echo", nil); !errors.As(err, &refused) || refused.Reason != "too many streams" {
		t.Fatalf("got %v", err)
	}
	exchange(t, st, "hi", "m2 to echo :hi")
	if _, err := dialer(s.machine("m3"), addr).Raw(context.Background(), "m1", "echo", nil); err == nil {
		t.Fatal("a second connection was taken")
	}
}

func TestBadConnectionsAreLoggedAndHarmNobody(t *testing.T) {
	s, other := newSite(t), newSite(t)
	log := &logged{new: make(chan struct{}, 1)}
	m1 := s.machine("m1")
	addr, _ := start(t, ServerConfig{
		Identity: m1, Log: slog.New(slog.NewTextHandler(log, nil)),
		Allowed: func(m cluster.Machine, _ pki.KeyID) error {
			if m == "struck" {
				return errors.New("not a member")
			}
			return nil
		},
		Mux: map[string]Handler{"echo": echoStream}, Raw: map[string]Handler{"calls": respondEcho, "bug": func(context.Context, *Stream) { panic("bug") }},
	}, "127.0.0.1:0")
	m2 := s.machine("m2")
	p := NewPool(dialer(m2, addr))
	defer p.Close()
	st, err := p.Open(context.Background(), "m1", "echo", nil)
	if err != nil {
		t.Fatal(err)
	}

	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(nc, "EHLO garbage\r\n\r\n")
	log.await(t, "first record does not look like a TLS handshake")
	_ = nc.Close()

	_, err = dialer(s.machine("struck"), addr).Raw(context.Background(), "m1", "calls", nil)
	if err == nil {
		t.Error("a machine that is no member was let in")
	}
	log.await(t, "not a member")

	if _, err := dialer(other.machine("m2"), addr).Raw(context.Background(), "m1", "calls", nil); err == nil {
		t.Error("a machine of another cluster was let in")
	}
	log.await(t, "bad certificate")

	nobody, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpnRaw}})
	if err == nil { // TLS 1.3: the client has finished before the server looks
		_, err = nobody.Read(make([]byte, 1))
		_ = nobody.Close()
	}
	if err == nil {
		t.Error("a machine without a certificate was let in")
	}
	log.await(t, "client didn't provide a certificate")

	if _, err := dialer(m2, addr).Raw(context.Background(), "m9", "calls", nil); err == nil || !strings.Contains(err.Error(), "called machine m9, but m1 answered") {
		t.Errorf("got %v", err)
	}

	tc, err := tls.Dial("tcp", addr, m2.Client("m1", anyone, alpnRaw))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = tc.Write([]byte{9, 200, 'x'})
	if status, _, err := readAnswer(tc); err != nil || status != statusNotRead {
		t.Errorf("answer %d, %v", status, err)
	}
	log.await(t, "version 9")
	_ = tc.Close()

	mc, err := tls.Dial("tcp", addr, m2.Client("m1", anyone, alpnMux))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = mc.Write(bytes.Repeat([]byte{0xff}, 100))
	log.await(t, "invalid protocol version")
	_ = mc.Close()

	bug, err := dialer(m2, addr).Raw(context.Background(), "m1", "bug", nil)
	if err != nil {
		t.Fatal(err)
	}
	log.await(t, "panic in a stream handler")
	_ = bug.Close()

	exchange(t, st, "still here", "m2 to echo :still here")
}

func TestPeerThatDoesNotShakeHandsIsCutOff(t *testing.T) {
	s := newSite(t)
	m2 := s.machine("m2")
	addr, _ := start(t, ServerConfig{
		Identity: s.machine("m1"), HandshakeTimeout: 50 * time.Millisecond, Raw: map[string]Handler{"echo": echoStream},
	}, "127.0.0.1:0")
	silent, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	headless, err := tls.Dial("tcp", addr, m2.Client("m1", anyone, alpnRaw))
	if err != nil {
		t.Fatal(err)
	}
	for name, nc := range map[string]net.Conn{"silent": silent, "without a header": headless} {
		_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: still connected", name)
		}
		_ = nc.Close()
	}
}

func TestRecheckEndsTheConnectionsOfMachinesThatWereStruck(t *testing.T) {
	s := newSite(t)
	var struck atomic.Bool
	allowed := func(m cluster.Machine, _ pki.KeyID) error {
		if m == "m2" && struck.Load() {
			return errors.New("not a member")
		}
		return nil
	}
	srv, err := NewServer(ServerConfig{Identity: s.machine("m1"), Allowed: allowed, Log: quiet, Raw: map[string]Handler{"echo": echoStream}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ctx, ln) }()
	defer func() { cancel(); <-done }()
	m2, err := dialer(s.machine("m2"), ln.Addr().String()).Raw(ctx, "m1", "echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	m3, err := dialer(s.machine("m3"), ln.Addr().String()).Raw(ctx, "m1", "echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := srv.Stats(), (accept.Stats{Open: 2, Accepted: 2}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	srv.Recheck()
	_ = m2.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(m2, make([]byte, len("m2 to echo :"))); err != nil {
		t.Errorf("a member was disconnected: %v", err)
	}
	struck.Store(true)
	srv.Recheck()
	_ = m2.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, m2); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("still connected")
	}
	exchange(t, m3, "hi", "m3 to echo :hi")
}

func TestCallsFindAServerThatCameBack(t *testing.T) {
	s := newSite(t)
	cfg := ServerConfig{Identity: s.machine("m1"), Raw: map[string]Handler{"calls": respondEcho}}
	addr, stop := start(t, cfg, "127.0.0.1:0")
	c := NewCalls(CallsConfig{Dialer: dialer(s.machine("m2"), addr), Service: "calls"})
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	call := func() error {
		got, err := c.Call(ctx, "m1", []byte("a"), []byte("b"))
		if err == nil && string(got) != "re ab" {
			t.Fatalf("got %q", got)
		}
		return err
	}
	if err := call(); err != nil {
		t.Fatal(err)
	}
	stop()
	for err := call(); !errors.Is(err, ErrNotSent); err = call() { // those that meet the end are unknown
		if err != nil && !errors.Is(err, cluster.ErrUnknown) || ctx.Err() != nil {
			t.Fatalf("got %v", err)
		}
	}
	start(t, cfg, addr)
	for err := call(); err != nil; err = call() { // until the pause between tries is over
		if !errors.Is(err, ErrNotSent) || ctx.Err() != nil {
			t.Fatalf("got %v", err)
		}
	}
}

func TestPoolOpensAgainAfterItsConnectionIsLost(t *testing.T) {
	s := newSite(t)
	cfg := ServerConfig{Identity: s.machine("m1"), Mux: map[string]Handler{"echo": echoStream}}
	addr, stop := start(t, cfg, "127.0.0.1:0")
	p := NewPool(dialer(s.machine("m2"), addr))
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	st, err := p.Open(ctx, "m1", "echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, st, "hi", "m2 to echo :hi")
	stop()
	start(t, cfg, addr)
	for {
		if st, err = p.Open(ctx, "m1", "echo", nil); err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	exchange(t, st, "hi", "m2 to echo :hi")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Open(ctx, "m1", "echo", nil); !errors.Is(err, cluster.ErrStopped) {
		t.Fatalf("after Close: %v", err)
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	s := newSite(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0") // accepts, says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := NewPool(dialer(s.machine("m2"), ln.Addr().String()))
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Open(ctx, "m1", "echo", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}
