package remote

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/host"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/mail/mailtest"
	"github.com/tandemail/tandemail/internal/route"
	"github.com/tandemail/tandemail/internal/state"
)

var quiet = slog.New(slog.DiscardHandler)

// rig is a store in memory, whose master serves it to accounts at another machine over
// pipes.
type rig struct {
	t        testing.TB
	twin     *mailtest.Server
	slot     *fakeSlot
	server   *Server
	routes   *fakeRoutes
	accounts *Accounts

	// wrap is what a new connection is at the caller's end; nil: as it is.
	wrap func(net.Conn) net.Conn

	ctx  context.Context
	work sync.WaitGroup
	mu   sync.Mutex
	open []net.Conn
}

// fakeSlot is a slot of the twin.
type fakeSlot struct {
	account func(mail.AccountID) mail.Account

	mu       sync.Mutex
	standing host.Standing
}

func (s *fakeSlot) Account(id mail.AccountID) mail.Account { return s.account(id) }

func (s *fakeSlot) Standing() host.Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standing
}

func (s *fakeSlot) stand(st host.Standing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.standing = st
}

// fakeRoutes lead to one master.
type fakeRoutes struct {
	mu      sync.Mutex
	now     route.Route
	changed chan struct{}
}

func (r *fakeRoutes) set(now route.Route) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = now
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *fakeRoutes) look() (route.Route, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now, r.changed
}

func (r *fakeRoutes) Lookup(cluster.Store) (route.Route, bool) {
	now, _ := r.look()
	return now, true
}

func (r *fakeRoutes) Learn(route.Route) {}

func (r *fakeRoutes) Await(ctx context.Context, tried route.Route, pause time.Duration) (route.Route, error) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		now, changed := r.look()
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

func newRig(t testing.TB) *rig {
	r := &rig{
		t: t, twin: mailtest.NewServer(mailtest.Config{}),
		routes: &fakeRoutes{now: route.Route{Store: "s1", Master: "m1", Epoch: 1}, changed: make(chan struct{})},
	}
	r.slot = &fakeSlot{
		account:  func(id mail.AccountID) mail.Account { return r.twin.Account(id) },
		standing: host.Standing{Serving: true, Epoch: 1, Known: 1, Master: "m1"},
	}
	r.serve(ServerConfig{})
	ctx, cancel := context.WithCancel(context.Background())
	r.ctx = ctx
	r.reach(Config{Routes: r.routes, Dial: r.dial})
	t.Cleanup(func() {
		if err := r.accounts.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		r.work.Wait()
		if st := r.server.Stats(); st.Views != 0 || st.Staged != 0 || st.Streams != 0 {
			t.Errorf("left at the master: %+v", st)
		}
	})
	return r
}

func (r *rig) serve(cfg ServerConfig) {
	r.t.Helper()
	if cfg.Slot == nil {
		cfg.Slot = func(cluster.Store) (host.Slot, error) { return r.slot, nil }
	}
	cfg.Log = quiet
	var err error
	if r.server, err = NewServer(cfg); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) reach(cfg Config) {
	r.t.Helper()
	var err error
	if r.accounts, err = NewAccounts(cfg); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) dial(_ context.Context, _ route.Route, meta []byte) (net.Conn, error) {
	here, there := net.Pipe()
	r.mu.Lock()
	r.open = append(r.open, here)
	r.mu.Unlock()
	server := r.server
	r.work.Go(func() { server.Serve(r.ctx, meta, there) })
	if r.wrap != nil {
		here = r.wrap(here)
	}
	return here, nil
}

// cut ends all connections.
func (r *rig) cut() {
	r.mu.Lock()
	open := r.open
	r.open = nil
	r.mu.Unlock()
	for _, nc := range open {
		_ = nc.Close()
	}
}

// account makes one and returns it as another machine has it.
func (r *rig) account() *Account {
	r.t.Helper()
	return r.accounts.elsewhere("s1", r.create())
}

func (r *rig) create() mail.AccountID {
	r.t.Helper()
	id := mail.AccountID{1}
	for ; ; id[1]++ {
		_, err := r.twin.CreateAccount(id, state.NewAccount{})
		if err == nil {
			return id
		}
		if id[1] == 255 {
			r.t.Fatal(err)
		}
	}
}

// talk opens a stream whose caller is the test itself.
func (r *rig) talk() *link.Frames {
	r.t.Helper()
	nc, err := r.dial(r.ctx, route.Route{}, hello{"s1", r.create(), 1}.append(nil))
	if err != nil {
		r.t.Fatal(err)
	}
	f := link.NewFrames(nc, frames())
	r.t.Cleanup(f.Abort)
	if got := r.hear(f); got != (opened{1}) {
		r.t.Fatalf("conversation begins with %+v", got)
	}
	return f
}

// hear reads what comes next, signs of life left out.
func (r *rig) hear(f *link.Frames) frame {
	r.t.Helper()
	for {
		fr, err := receive(f)
		if err != nil {
			r.t.Fatal(err)
		}
		if fr != (alive{}) {
			return fr
		}
	}
}

func (r *rig) say(f *link.Frames, list ...frame) {
	r.t.Helper()
	for _, fr := range list {
		if err := send(r.ctx, f, fr); err != nil {
			r.t.Fatal(err)
		}
	}
}

func look(t testing.TB, a mail.Account) mail.View {
	t.Helper()
	v, err := a.View(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func inbox(t testing.TB, v mail.View) mail.MailboxInfo {
	t.Helper()
	m, err := v.Lookup("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	return m
}
