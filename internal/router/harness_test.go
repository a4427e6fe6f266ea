package router

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/deliver"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/lmtpd"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// addresses is a directory of aliases and users; a user's store and account follow
// from its name: "anna1" is account 'a' in store s1.
type addresses map[string][]string

func (d addresses) Resolve(_ context.Context, address string) ([]directory.Recipient, error) {
	switch address {
	case "bad@":
		return nil, directory.ErrBadAddress
	case "later@x":
		return nil, directory.ErrNotReady
	}
	names, ok := d[address]
	if !ok {
		if !strings.HasSuffix(address, "@x") {
			return nil, directory.ErrNoUser
		}
		names = []string{strings.TrimSuffix(address, "@x")}
	}
	var list []directory.Recipient
	for _, n := range names {
		list = append(list, directory.Recipient{User: directory.User{
			Name: n + "@x", Account: mail.AccountID{n[0]}, Store: cluster.Store("s" + n[len(n)-1:]),
		}})
	}
	return list, nil
}

// stores is a Deliverer that stores everything, unless a test says otherwise.
type stores struct {
	// refuse gives the answer for a request; nil, nil: stored for all.
	refuse func(ctx context.Context, q deliver.Request) ([]deliver.Result, error)
	// unsettled makes Settle fail.
	unsettled func(deliver.Settle) error

	mu       sync.Mutex
	requests []deliver.Request
	settled  []deliver.Settle
}

func (s *stores) Deliver(ctx context.Context, q deliver.Request) ([]deliver.Result, error) {
	q.Octets = bytes.Clone(q.Octets)
	s.mu.Lock()
	s.requests = append(s.requests, q)
	s.mu.Unlock()
	if s.refuse != nil {
		if r, err := s.refuse(ctx, q); r != nil || err != nil {
			return r, err
		}
	}
	return codes(q), nil
}

// codes are results for q's recipients: the codes given, then Done.
func codes(q deliver.Request, list ...state.Code) []deliver.Result {
	out := make([]deliver.Result, len(q.Recipients))
	for i := range out {
		out[i] = deliver.Result{Number: q.Recipients[i].Number, UID: 1}
		if i < len(list) {
			out[i].Code = list[i]
		}
	}
	return out
}

func (s *stores) Settle(_ context.Context, q deliver.Settle) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unsettled != nil {
		if err := s.unsettled(q); err != nil {
			return err
		}
	}
	s.settled = append(s.settled, q)
	return nil
}

// told lists what stores have been told: "c" or "d", account and number.
func (s *stores) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, q := range s.settled {
		for i, refs := range [][]state.DeliveryRef{q.Confirmed, q.InDoubt} {
			for _, r := range refs {
				list = append(list, fmt.Sprintf("%c %s %c%d", "cd"[i], q.Store, r.Account[0], r.Number))
			}
		}
	}
	slices.Sort(list)
	return list
}

// bench is a router behind an LMTP server, in virtual time.
type bench struct {
	t      *testing.T
	router *Router
	stores *stores
	log    *bytes.Buffer
	ln     *pipeListener
	stop   func() // ends server and router, waits for both
}

func inBench(t *testing.T, users addresses, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, stores: &stores{}, log: &bytes.Buffer{}, ln: &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}}
		log := slog.New(slog.NewTextHandler(b.log, nil))
		b.router = New(Config{
			Machine: "m1", Directory: users, Deliver: b.stores, Now: time.Now, Rand: counter{}, Log: log, LargeMemory: 3 << 20,
		})
		srv, err := lmtpd.New(lmtpd.Config{
			Hostname: "m1", Backend: b.router, Log: log, SpoolFS: vfs.NewMem(), SpoolDir: "/spool", Trusted: func(netip.Addr) bool { return true },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = srv.Serve(ctx, b.ln) })
		wg.Go(func() { _ = b.router.Run(ctx) })
		b.stop = func() { cancel(); wg.Wait() }
		defer b.stop()
		f(b)
	})
}

// counter is a source of ids that differ.
type counter struct{}

func (counter) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0xab
	}
	return len(p), nil
}

type pipeListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// mta is the other end of a connection.
type mta struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// remoteConn gives a pipe an address.
type remoteConn struct{ net.Conn }

func (remoteConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 1234}
}

func (b *bench) dial() *mta {
	here, there := net.Pipe()
	b.ln.conns <- remoteConn{there}
	m := &mta{t: b.t, conn: here, in: bufio.NewReader(here)}
	m.reply("220")
	m.say("LHLO mta.example", "250")
	return m
}

// say sends a line and wants a reply that begins so.
func (m *mta) say(line, want string) {
	m.t.Helper()
	if _, err := m.conn.Write([]byte(line + "\r\n")); err != nil {
		m.t.Fatal(err)
	}
	m.reply(want)
}

func (m *mta) reply(want string) {
	m.t.Helper()
	for {
		l, err := m.in.ReadString('\n')
		if err != nil {
			m.t.Fatalf("no reply: %v", err)
		}
		if len(l) > 3 && l[3] == '-' {
			continue
		}
		if !strings.HasPrefix(l, want) {
			m.t.Errorf("reply %q, want %q", l, want)
		}
		return
	}
}

// send gives a message to the recipients, each of whom gets the reply wanted.
func (m *mta) send(body string, rcpts []string, want ...string) {
	m.t.Helper()
	m.say("MAIL FROM:<from@y>", "250")
	for _, r := range rcpts {
		m.say("RCPT TO:<"+r+">", "250")
	}
	m.say("DATA", "354")
	go func() { _, _ = m.conn.Write([]byte(body + "\r\n.\r\n")) }()
	for _, w := range want {
		m.reply(w)
	}
}

var errStore = errors.New("store is broken")
