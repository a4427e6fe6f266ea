package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/bench"
)

// TestSessionOutlivesItsMasters keeps a session while the user's store is switched
// and its master is killed, and while others change the mailbox and mail comes in.
// The session may not end, and at last what it was told is what is there.
func TestSessionOutlivesItsMasters(t *testing.T) {
	needDev(t)
	dir, err := os.MkdirTemp("", "tms-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kept %s and %s.log", dir, dir)
			return
		}
		os.RemoveAll(dir)
		os.Remove(dir + ".log")
	})
	c := startDev(t, dir)
	if err := c.settle(t.Context(), settleTime); err != nil {
		t.Fatal(err)
	}
	u := c.Users[0]
	store, front, err := c.frontFor(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	b, err := believe(t.Context(), front.IMAP, u, "SELECT")
	if err != nil {
		t.Fatal(err)
	}
	defer b.conn.Close()
	other, err := plainLogin(t.Context(), front.IMAP, u)
	if err != nil {
		t.Fatal(err)
	}
	defer other.conn.Close()

	changing, stop := context.WithCancelCause(t.Context())
	var clients sync.WaitGroup
	v := &vandal{other, rand.New(rand.NewPCG(3, 4))}
	clients.Go(func() { trickle(changing, front.LMTP, u) })
	for _, run := range []func(context.Context) error{v.run, b.run} {
		clients.Go(func() {
			if err := run(changing); err != nil {
				stop(err)
			}
		})
	}
	err = c.replaceMasters(changing, store, b)
	stop(nil)
	clients.Wait()
	if cause := context.Cause(changing); !errors.Is(cause, context.Canceled) {
		t.Fatal(cause)
	}
	if err != nil {
		t.Fatal(err)
	}
	compareBeliefs(t, b, front, u)
}

// frontFor is the user's store, and a machine that has no copy of it: its front end
// lives on whatever happens to the store.
func (c *cluster) frontFor(ctx context.Context, u user) (string, machine, error) {
	by, err := c.usersByStore(ctx)
	if err != nil {
		return "", machine{}, err
	}
	s, err := c.status(ctx)
	if err != nil {
		return "", machine{}, err
	}
	for _, st := range s.Stores {
		if !slices.Contains(by[st.Name], u.User) {
			continue
		}
		for _, m := range c.Machines {
			if !slices.Contains(st.InSync, m.Name) {
				return st.Name, m, nil
			}
		}
	}
	return "", machine{}, fmt.Errorf("no machine is without the store of %s", u.User)
}

// replaceMasters switches a store twice and kills its master twice, each time when
// the client has done a few commands.
func (c *cluster) replaceMasters(ctx context.Context, store string, b *believer) error {
	for i := range 4 {
		if err := b.progress(ctx); err != nil {
			return err
		}
		old, err := c.master(ctx, store)
		if err != nil {
			return err
		}
		if i%2 == 0 {
			if _, err := c.run(ctx, "store", "switchover", store); err != nil {
				return err
			}
		} else if err := c.kill(old); err != nil {
			return err
		}
		if err := b.progress(ctx); err != nil {
			return err
		}
		if now, err := c.master(ctx, store); err != nil || now == old {
			return fmt.Errorf("%s: master was %s and is %s: %w", store, old, now, err)
		}
		if i%2 == 1 {
			if err := c.start(ctx, old); err != nil {
				return err
			}
		}
		if err := c.settle(ctx, settleTime); err != nil {
			return err
		}
	}
	return nil
}

// progress waits until the client has had some more answers.
func (b *believer) progress(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	for until := b.commands.Load() + 20; b.commands.Load() < until; {
		if !pause(ctx, 10*time.Millisecond) {
			return fmt.Errorf("client has no answers: %w", ctx.Err())
		}
	}
	return nil
}

// trickle delivers a message now and then. Whether one was accepted does not matter.
func trickle(ctx context.Context, addr string, u user) {
	for ctx.Err() == nil {
		d := net.Dialer{Timeout: dialTime}
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return // ctx ended
		}
		_ = conn.SetDeadline(time.Now().Add(answerTime)) // a closed one fails at the next read
		if client, err := bench.NewLMTP(conn, "trickle.invalid"); err == nil {
			_, _ = client.Data("", []string{u.User}, []byte(probeMessage))
		}
		conn.Close()
		pause(ctx, 100*time.Millisecond)
	}
}

// compareBeliefs compares what a session was told with what a new one sees.
func compareBeliefs(t *testing.T, b *believer, front machine, u user) {
	t.Helper()
	if _, err := b.do("NOOP"); err != nil {
		t.Fatal(err)
	}
	if err := b.ask(); err != nil {
		t.Fatal(err)
	}
	fresh, err := believe(t.Context(), front.IMAP, u, "EXAMINE")
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.conn.Close()
	if !slices.Equal(b.messages, fresh.messages) {
		t.Errorf("the session was told\n%v, there is\n%v", b.messages, fresh.messages)
	}
	t.Logf("%d commands answered, %d messages at last", b.commands.Load(), len(b.messages))
}
