package slot

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
)

// testSessions are sessions without a slot; what they report goes to post.
func testSessions(post func(replica.Event)) *sessions {
	begun := time.Now()
	return &sessions{
		cfg: &Config{Clock: func() time.Duration { return time.Since(begun) }}, log: slog.New(slog.DiscardHandler),
		recent: newRecent(), commit: new(atomic.Uint64), post: post,
		open: map[replica.Session]*session{}, dialed: map[cluster.SlotID]dialed{}, seen: map[cluster.SlotID]followed{},
	}
}

func TestSilentPeerIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		go func() { _, _ = io.Copy(io.Discard, there) }() // it reads, and says nothing
		begun := time.Now()
		err := testSessions(func(replica.Event) {}).run(t.Context(), cluster.SlotID{1}, here)
		if took := time.Since(begun); !errors.Is(err, os.ErrDeadlineExceeded) || took != silence {
			t.Errorf("session ended after %v: %v", took, err)
		}
	})
}

func TestPeerThatDoesNotReadIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			b, _ := replica.AppendFrame(nil, signOfLife)
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for range tick.C {
				if _, err := there.Write(b); err != nil {
					return
				}
			}
		}()
		begun := time.Now()
		err := testSessions(func(replica.Event) {}).run(t.Context(), cluster.SlotID{1}, here)
		if took := time.Since(begun); !errors.Is(err, os.ErrDeadlineExceeded) || took != silence+keepAlive {
			t.Errorf("session ended after %v: %v", took, err)
		}
		<-done
	})
}

func TestIdlePeersKeepTheirSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		var frames atomic.Int32
		post := func(e replica.Event) {
			if _, ok := e.(replica.FrameIn); ok {
				frames.Add(1)
			}
		}
		a, b := testSessions(post), testSessions(post)
		ended := make(chan error, 2)
		go func() { ended <- a.run(t.Context(), cluster.SlotID{2}, here) }()
		go func() { ended <- b.run(t.Context(), cluster.SlotID{1}, there) }()
		select {
		case err := <-ended:
			t.Fatalf("idle session ended: %v", err)
		case <-time.After(time.Hour):
		}
		if got := a.reaches(); len(got) != 1 || got[0] != (cluster.SlotID{2}) {
			t.Errorf("reaches %v", got)
		}
		if n := frames.Load(); n != 0 {
			t.Errorf("the protocol was shown %d signs of life", n)
		}
		here.Close()
		for range 2 {
			if err := <-ended; err == nil {
				t.Error("ended without a reason")
			}
		}
		if got := a.reaches(); len(got) != 0 {
			t.Errorf("still reaches %v", got)
		}
	})
}
