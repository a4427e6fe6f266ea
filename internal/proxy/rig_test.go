package proxy

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"

	"github.com/tandemail/tandemail/internal/auth"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/host"
	"github.com/tandemail/tandemail/internal/imapd"
	"github.com/tandemail/tandemail/internal/imapwire/imaptest"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/mail/mailtest"
	"github.com/tandemail/tandemail/internal/route"
	"github.com/tandemail/tandemail/internal/session"
	"github.com/tandemail/tandemail/internal/spool"
	"github.com/tandemail/tandemail/internal/state"
)

// rig is a front end and machines whose slots are copies of one store: all of them
// see one twin, and at most one at a time is its master.
type rig struct {
	t      testing.TB
	cfg    Config
	server *Server
	twin   *mailtest.Server
	users  *mailtest.Users
	routes *fakeRoutes
	conns  *pipes                            // of IMAP clients
	tcp    map[session.Protocol]net.Listener // for clients that send ahead, which a pipe does not buffer
	spool  *spool.Dir
	log    *logged

	mu       sync.Mutex
	machines map[cluster.Machine]*machine
	epoch    cluster.Epoch
	since    time.Duration            // for which a master has been one when it is asked
	tamper   func(session.Frame) bool // true: the stream breaks instead of this frame

	serve func(Listener)
	stop  func()
}

const store = cluster.Store("s01")

func testNow() time.Time { return time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC) }

// accounts of the rig; passwords are "secret". That of info is shared.
var accounts = map[string]mail.AccountID{"ann": {1}, "bob": {2}, "info": {3}}

// machine is one host, and its slot.
type machine struct {
	rig   *rig
	host  *host.Host
	spool *spool.Dir

	mu       sync.Mutex
	standing host.Standing
}

func (m *machine) Account(id mail.AccountID) mail.Account { return m.rig.twin.Account(id) }

func (m *machine) Standing() host.Standing {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.standing
}

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	r := &rig{
		t: t, twin: mailtest.NewServer(mailtest.Config{Now: testNow}), routes: newFakeRoutes(), conns: newPipes(), tcp: map[session.Protocol]net.Listener{},
		machines: map[cluster.Machine]*machine{}, log: new(logged), since: time.Hour,
	}
	r.users = &mailtest.Users{Server: r.twin, Names: accounts, Shared: map[mail.AccountID]bool{accounts["info"]: true}}
	for _, id := range accounts {
		if _, err := r.twin.CreateAccount(id, state.NewAccount{}); err != nil {
			t.Fatal(err)
		}
	}
	r.spool = openSpool(t)
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, m := range []cluster.Machine{"m1", "m2"} {
		r.addMachine(m, log)
	}
	r.cfg = Config{
		Auth: newAuth(t, auth.Config{}), Routes: r.routes, Dial: r.dial, Spool: r.spool, Log: log, PlaintextAuth: true,
		FailureDelay: time.Millisecond, Alive: 8 * time.Second, // below a test client's patience
	}
	if change != nil {
		change(&r.cfg)
	}
	var err error
	if r.server, err = New(r.cfg); err != nil {
		t.Fatal(err)
	}
	r.appoint("m1")
	r.start()
	return r
}

func openSpool(t testing.TB) *spool.Dir {
	t.Helper()
	d, err := spool.Open(vfs.NewMem(), "spool", 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (r *rig) addMachine(name cluster.Machine, log *slog.Logger) {
	m := &machine{rig: r, spool: openSpool(r.t)}
	var err error
	m.host, err = host.New(host.Config{
		Slot: func(s cluster.Store) (host.Slot, error) {
			if s != store {
				return nil, cluster.ErrNotMaster
			}
			return m, nil
		},
		Others: func(o session.Open) imapd.Others { return r.users.For(o.Account) },
		Spool:  m.spool, Now: testNow, Log: log.With("machine", string(name)),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.machines[name] = m
}

func (r *rig) start() {
	ctx, cancel := context.WithCancel(context.Background())
	var served errgroup.Group
	r.serve = func(ln Listener) { served.Go(func() error { return r.server.Serve(ctx, ln) }) }
	r.serve(Listener{Listener: r.conns, Protocol: session.IMAP})
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := served.Wait(); err != nil {
			r.t.Errorf("serve: %v", err)
		}
	}
	r.t.Cleanup(func() {
		r.stop()
		for _, m := range r.machines {
			m.host.Wait()
			if n := m.spool.Used(); n != 0 {
				r.t.Errorf("%d octets are left in a master's spool", n)
			}
		}
		if n := r.spool.Used(); n != 0 {
			r.t.Errorf("%d octets are left in the spool", n)
		}
		if s := r.log.errors(); s != "" {
			r.t.Errorf("logged as error: %s", s)
		}
	})
}

// appoint makes a machine master, in a new epoch; "" nobody.
func (r *rig) appoint(name cluster.Machine) {
	r.mu.Lock()
	r.epoch++
	epoch := r.epoch
	r.mu.Unlock()
	for n, m := range r.machines {
		m.mu.Lock()
		m.standing = host.Standing{Serving: n == name, Epoch: epoch, Known: epoch, Master: name, Since: r.since}
		m.mu.Unlock()
	}
	r.routes.set(route.Route{Store: store, Master: name, Epoch: epoch})
}

// fork begins another history, as a forced failover does.
func (r *rig) fork() {
	r.t.Helper()
	p, err := r.twin.Builder().Fork(mail.Actor{}, 0)
	if err == nil {
		_, err = r.twin.Commit(p)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// tamperWith breaks streams at frames for which f is true.
func (r *rig) tamperWith(f func(session.Frame) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tamper = f
}

func (r *rig) dial(ctx context.Context, to route.Route) (Backend, error) {
	return &tampered{Frames: r.machines[to.Master].host.Pipe(context.Background(), to.Store), rig: r}, nil
}

// tampered is a stream that may break at a frame from the master.
type tampered struct {
	*link.Frames
	rig *rig
}

func (b *tampered) Read() (byte, []byte, error) {
	kind, p, err := b.Frames.Read()
	if err != nil {
		return kind, p, err
	}
	f, err := session.Decode(session.Kind(kind), p)
	if err != nil {
		return kind, p, err
	}
	b.rig.mu.Lock()
	tamper := b.rig.tamper
	b.rig.mu.Unlock()
	if tamper != nil && tamper(f) {
		b.Abort()
		return 0, nil, io.ErrUnexpectedEOF
	}
	return kind, p, nil
}

// dialTCP connects to a listener of its own for the protocol.
func (r *rig) dialTCP(p session.Protocol) net.Conn {
	r.t.Helper()
	if r.tcp[p] == nil {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			r.t.Fatal(err)
		}
		r.tcp[p] = ln
		r.serve(Listener{Listener: ln, Protocol: p})
	}
	nc, err := net.Dial("tcp", r.tcp[p].Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	return nc
}

// client connects and reads the greeting.
func (r *rig) client() *imaptest.Client {
	r.t.Helper()
	c := imaptest.NewClient(r.t, r.conns.dial())
	if got := c.Line(); !strings.HasPrefix(got, "* OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL- ") {
		r.t.Fatalf("greeting: %q", got)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// loggedIn connects and logs ann in.
func (r *rig) loggedIn() *imaptest.Client {
	r.t.Helper()
	c := r.client()
	c.OK("LOGIN ann secret")
	return c
}

func expect(t testing.TB, c *imaptest.Client, lines ...string) {
	t.Helper()
	for _, want := range lines {
		if got := c.Line(); got != want {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
	}
}

// people are a directory.
type people map[string]directory.User

func (p people) Lookup(_ context.Context, name string) (directory.User, error) {
	u, ok := p[name]
	if !ok {
		return u, directory.ErrNoUser
	}
	return u, nil
}

// zeros are drawn where an exchange must be the same each time.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

const proofs = 4096 // iterations of the rig's verifiers

// everybody are the rig's users, with both kinds of what "secret" is verified by.
var everybody = sync.OnceValues(func() (people, error) {
	h, p := auth.NewHasher(auth.CheapParams, zeros{}, 1), people{}
	for name, id := range accounts {
		u := directory.User{Name: name, Account: id, Store: store}
		var err error
		if u.Credential, err = h.Hash(context.Background(), "secret"); err != nil {
			return nil, err
		}
		if u.Verifier, err = h.Verifier(context.Background(), "secret", proofs); err != nil {
			return nil, err
		}
		p[name] = u
	}
	return p, nil
})

// newAuth knows the rig's users, unless the configuration has others.
func newAuth(t testing.TB, cfg auth.Config) *auth.Authenticator {
	t.Helper()
	users, err := everybody()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Users == nil {
		cfg.Users = users
	}
	cfg.Hasher = auth.NewHasher(auth.CheapParams, nil, 1)
	a, err := auth.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// fakeRoutes is the table, set by the test.
type fakeRoutes struct {
	mu      sync.Mutex
	now     route.Route
	changed chan struct{}
}

func newFakeRoutes() *fakeRoutes { return &fakeRoutes{changed: make(chan struct{})} }

func (f *fakeRoutes) set(r route.Route) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = r
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeRoutes) Lookup(s cluster.Store) (route.Route, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now, f.now.Store == s
}

func (f *fakeRoutes) Learn(route.Route) {}

func (f *fakeRoutes) Await(ctx context.Context, tried route.Route, pause time.Duration) (route.Route, error) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		f.mu.Lock()
		now, changed := f.now, f.changed
		f.mu.Unlock()
		if now != tried && now.Master != "" {
			return now, nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return now, nil
		case <-ctx.Done():
			return now, ctx.Err()
		}
	}
}

// pipes is a listener in memory.
type pipes struct {
	accept chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{accept: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn { return p.dialFrom(nil) }

// dialFrom connects from an address.
func (p *pipes) dialFrom(remote net.Addr) net.Conn {
	a, b := net.Pipe()
	if remote != nil {
		b = &addressed{b, remote}
	}
	p.accept <- b
	return a
}

type addressed struct {
	net.Conn
	remote net.Addr
}

func (a *addressed) RemoteAddr() net.Addr { return a.remote }

// logged keeps the log.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logged) errors() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for s := range strings.Lines(l.buf.String()) {
		if strings.Contains(s, "level=ERROR") {
			out = append(out, s)
		}
	}
	return strings.Join(out, "")
}
