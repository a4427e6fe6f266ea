package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/host"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/route"
)

// cutConn is a connection that ends after so many octets, either way.
type cutConn struct {
	net.Conn
	left atomic.Int64
}

func (c *cutConn) pass(n int, err error) (int, error) {
	if c.left.Add(-int64(n)) < 0 {
		_ = c.Close()
	}
	return n, err
}

// Read lets what was cut be half read.
func (c *cutConn) Read(p []byte) (int, error) { return c.pass(c.Conn.Read(p)) }

// Write writes what is left of the connection.
func (c *cutConn) Write(p []byte) (int, error) {
	if left := max(0, c.left.Load()); int64(len(p)) > left {
		n, _ := c.Conn.Write(p[:left])
		_ = c.Close()
		return n, net.ErrClosed
	}
	return c.pass(c.Conn.Write(p))
}

// shaky is an account whose changes are answered as during a switch.
type shaky struct {
	mail.Account
	mu  sync.Mutex
	rng *rand.Rand
}

func (s *shaky) As(mail.AccountID) mail.Account { return s }

func (s *shaky) draw(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(n)
}

func (s *shaky) Do(ctx context.Context, req mail.Request) (mail.Result, error) {
	switch s.draw(8) {
	case 0:
		return mail.Result{}, mail.ErrBusy
	case 1:
		return mail.Result{}, mail.ErrMoved
	case 2:
		if _, err := s.Account.Do(ctx, req); err != nil {
			return mail.Result{}, err
		}
		return mail.Result{}, mail.ErrUnknown
	}
	return s.Account.Do(ctx, req)
}

// TestChangesHappenOnceWhateverIsCut: connections end anywhere, masters change and lose
// answers, and each change is there once, with the result that it had.
func TestChangesHappenOnceWhateverIsCut(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { changeAndCut(t, seed) }) })
	}
}

func changeAndCut(t *testing.T, seed uint64) {
	rng := &shaky{rng: rand.New(rand.NewPCG(seed, 1))}
	r := newRig(t)
	r.slot.account = func(id mail.AccountID) mail.Account {
		return &shaky{Account: r.twin.Account(id), rng: rand.New(rand.NewPCG(seed, 2))}
	}
	epoch := cluster.Epoch(1)
	r.wrap = func(nc net.Conn) net.Conn {
		c := &cutConn{Conn: nc}
		c.left.Store(int64(300) << rng.draw(12))
		return c
	}
	a := r.account()
	box := inbox(t, look(t, r.twin.Account(a.id))).ID
	const n = 15
	for i := range n {
		if rng.draw(5) == 0 {
			epoch++
			st := host.Standing{Serving: true, Epoch: epoch, Known: epoch, Master: cluster.Machine(fmt.Sprint("m", epoch))}
			r.slot.stand(st)
			r.routes.set(route.Route{Store: "s1", Master: st.Master, Epoch: epoch})
		}
		text := fmt.Sprintf("Subject: %d\r\n\r\n%s\r\n", i, strings.Repeat("x", 1<<rng.draw(15)))
		body, err := a.Stage(t.Context(), strings.NewReader(text), mail.MaxMessageSize)
		if err != nil {
			t.Fatal(err)
		}
		req := mail.Request{
			ID: mail.OpID{Session: mail.SessionID{9}, Number: uint64(i + 1)},
			Op: mail.Append{Mailbox: box, Messages: []mail.NewMessage{{Body: body}}},
		}
		var res mail.Result
		for { // as a session is asked again
			if res, err = a.Do(t.Context(), req); !errors.Is(err, mail.ErrUnknown) && !errors.Is(err, mail.ErrBusy) {
				break
			}
		}
		if err != nil || res.UIDs.String() != fmt.Sprint(i+1) {
			t.Fatalf("message %d: UIDs %v, %v", i, res.UIDs, err)
		}
		if err := body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r.wrap = nil
	r.cut() // this one ends too
	v := look(t, a)
	defer v.Close()
	got := 0
	for m, err := range v.Messages(box, 1, 1<<32-1) {
		if err != nil {
			t.Fatal(err)
		}
		c, err := v.Open(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
		if want := fmt.Sprintf("Subject: %d\r\n", got); err != nil || !strings.HasPrefix(string(b), want) {
			t.Errorf("message %d is %.20q, %v", m.UID, b, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		got++
	}
	if got != n {
		t.Errorf("%d messages of %d", got, n)
	}
}
