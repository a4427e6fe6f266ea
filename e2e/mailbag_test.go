package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/bench"
)

// mailbag delivers single messages to a few users and knows what was promised: a
// mailbox has every message that was acknowledged, and at most those without a final
// answer besides.
type mailbag struct {
	users []user

	mu    sync.Mutex
	sent  int
	acked map[string]int
	open  map[string]int
}

func newMailbag(users ...user) *mailbag {
	return &mailbag{users: users, acked: map[string]int{}, open: map[string]int{}}
}

// try delivers one message at a front end, once, as an MTA does. A reply without code
// is no answer.
func (b *mailbag) try(ctx context.Context, front *host, u user) (bench.Reply, time.Duration) {
	b.mu.Lock()
	b.sent++
	subject := fmt.Sprintf("message %d", b.sent)
	b.mu.Unlock()
	begin := time.Now()
	reply, err := attempt(ctx, front.addr("lmtp-port"), u.User, subject)
	if err != nil {
		reply = bench.Reply{Text: err.Error()}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if reply.OK() {
		b.acked[u.User]++
	} else {
		b.open[u.User]++
	}
	return reply, time.Since(begin)
}

// flows delivers to every user, trying again for a while, and returns how long the
// slowest took.
func (b *mailbag) flows(t *testing.T, fronts ...*host) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyTime)
	defer cancel()
	begin := time.Now()
	for _, front := range fronts {
		for _, u := range b.users {
			for {
				reply, _ := b.try(ctx, front, u)
				if reply.OK() {
					break
				}
				if reply.Code >= 500 || !pause(ctx, 100*time.Millisecond) {
					t.Fatalf("mail for %s at %s: %d %s\n%s", u.User, front.name, reply.Code, reply.Text, front.lastLog())
				}
			}
		}
	}
	return time.Since(begin)
}

// atOnce delivers to every user, each at the first try.
func (b *mailbag) atOnce(t *testing.T, fronts ...*host) {
	t.Helper()
	for _, front := range fronts {
		for _, u := range b.users {
			if reply, took := b.try(t.Context(), front, u); !reply.OK() {
				t.Fatalf("mail for %s at %s after %v: %d %s\n%s", u.User, front.name, took, reply.Code, reply.Text, front.lastLog())
			}
		}
	}
}

// waits says that the MTA has to keep what it has for these users: the answer is
// temporary, from every front end.
func (b *mailbag) waits(t *testing.T, users []user, fronts ...*host) {
	t.Helper()
	var all sync.WaitGroup
	for _, front := range fronts {
		for _, u := range users {
			all.Go(func() {
				if reply, took := b.try(t.Context(), front, u); reply.Code < 400 || reply.Code > 499 {
					t.Errorf("mail for %s at %s, after %v: %d %s, want a temporary answer", u.User, front.name, took, reply.Code, reply.Text)
				}
			})
		}
	}
	all.Wait()
}

// keeps says that nobody is called unknown: what a front end does not take, the MTA
// keeps.
func (b *mailbag) keeps(t *testing.T, users []user, fronts ...*host) {
	t.Helper()
	for _, front := range fronts {
		for _, u := range users {
			if reply, _ := b.try(t.Context(), front, u); reply.Code >= 500 {
				t.Errorf("mail for %s at %s: %d %s", u.User, front.name, reply.Code, reply.Text)
			}
		}
	}
}

// count asks how many messages a user has.
func count(ctx context.Context, front *host, u user) (n int, err error) {
	s, err := login(ctx, front.addr("imap-port"), u)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	err = s.do(func() error {
		data, err := s.Select("INBOX", nil).Wait()
		if err == nil {
			n = int(data.NumMessages)
		}
		return err
	})
	return n, err
}

// reads finds in every mailbox what was acknowledged, trying again for a while, and
// returns how long that took.
func (b *mailbag) reads(t *testing.T, fronts ...*host) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyTime)
	defer cancel()
	begin := time.Now()
	for _, front := range fronts {
		for _, u := range b.users {
			for {
				n, err := count(ctx, front, u)
				if least, most := b.acked[u.User], b.acked[u.User]+b.open[u.User]; err == nil && (n < least || n > most) {
					t.Fatalf("%s has %d messages at %s; %d were acknowledged, %d not", u.User, n, front.name, least, most-least)
				}
				if err == nil {
					break
				}
				if !pause(ctx, 100*time.Millisecond) {
					t.Fatalf("read mail of %s at %s: %v\n%s", u.User, front.name, err, front.lastLog())
				}
			}
		}
	}
	return time.Since(begin)
}

// unreadable says that nobody's mail can be read, and that the client is told so.
func (b *mailbag) unreadable(t *testing.T, fronts ...*host) {
	t.Helper()
	var all sync.WaitGroup
	for _, front := range fronts {
		for _, u := range b.users {
			all.Go(func() {
				if n, err := count(t.Context(), front, u); err == nil {
					t.Errorf("%s at %s shows %d messages", u.User, front.name, n)
				}
			})
		}
	}
	all.Wait()
}
