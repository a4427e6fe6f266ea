package memory_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/coordtest"
	"github.com/tandemail/tandemail/internal/coord/memory"
)

func TestMemoryConforms(t *testing.T) {
	coordtest.Run(t, func(t *testing.T) coordtest.Env {
		s := memory.NewServer(memory.Config{MinTTL: 50 * time.Millisecond})
		return coordtest.Env{
			A: s.Client(), B: s.Client(), MinTTL: 50 * time.Millisecond,
			Compact: func(_ *testing.T, rev cluster.Rev) { s.Compact(rev) },
		}
	})
}

func set(t *testing.T, c coord.Coord, key, value string) cluster.Rev {
	t.Helper()
	ok, rev, err := c.Txn(t.Context(), coord.Txn{Then: []coord.Op{coord.Put(key, []byte(value))}})
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	return rev
}

func TestLostAnswerIsUnknownAndHappened(t *testing.T) {
	s := memory.NewServer(memory.Config{})
	c := s.Client()
	txn := coord.Txn{Then: []coord.Op{coord.Put("a", []byte("1"))}}
	c.SetFaults(memory.Faults{LoseRequest: func(coord.Txn) bool { return true }})
	if _, _, err := c.Txn(t.Context(), txn); !errors.Is(err, cluster.ErrUnknown) {
		t.Fatal(err)
	}
	if _, rev, _ := c.Get(t.Context(), "a"); rev != 0 {
		t.Fatal("a lost request happened")
	}
	c.SetFaults(memory.Faults{LoseAnswer: func(coord.Txn) bool { return true }})
	if _, _, err := c.Txn(t.Context(), txn); !errors.Is(err, cluster.ErrUnknown) {
		t.Fatal(err)
	}
	if _, rev, _ := c.Get(t.Context(), "a"); rev == 0 {
		t.Fatal("a lost answer undid its transaction")
	}
}

func TestDelayedTransactionHappensAfterItsCallerGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.NewServer(memory.Config{})
		c := s.Client()
		c.SetFaults(memory.Faults{Delay: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, _, err := c.Txn(ctx, coord.Txn{Then: []coord.Op{coord.Put("a", nil)}})
		if !errors.Is(err, coord.ErrUnknown) {
			t.Fatal(err)
		}
		other := s.Client()
		if _, rev, _ := other.Get(t.Context(), "a"); rev != 0 {
			t.Fatal("happened too early")
		}
		<-time.After(time.Second)
		synctest.Wait()
		if _, rev, _ := other.Get(t.Context(), "a"); rev == 0 {
			t.Fatal("never happened")
		}
	})
}

func TestCutLeaseIsLostToItsOwnerBeforeItsKeysVanish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.NewServer(memory.Config{})
		c := s.Client()
		lease, err := c.Lease(t.Context(), 3*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := lease.Txn(t.Context(), coord.Txn{Then: []coord.Op{coord.Put("live", nil)}}); err != nil {
			t.Fatal(err)
		}
		<-time.After(10 * time.Second) // renewed all the time
		c.SetFaults(memory.Faults{Down: errors.New("cable")})
		cut := time.Now()
		<-lease.Lost()
		if d := time.Since(cut); d < 2*time.Second || d > 3*time.Second {
			t.Fatalf("lost after %v", d)
		}
		<-time.After(time.Second)
		if _, rev, _ := s.Client().Get(t.Context(), "live"); rev != 0 {
			t.Fatal("the key outlived its lease")
		}
	})
}

func TestCutWatchIsToldLaterWhatItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.NewServer(memory.Config{})
		near, far := s.Client(), s.Client()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		got := make(chan string, 8)
		go func() {
			for batch, err := range far.Watch(ctx, "w/", s.Rev()) {
				if err != nil {
					close(got)
					return
				}
				for _, c := range batch {
					got <- string(c.Value)
				}
			}
		}()
		synctest.Wait()
		far.SetFaults(memory.Faults{Down: errors.New("cable")})
		set(t, near, "w/a", "1")
		set(t, near, "w/a", "2")
		synctest.Wait()
		if len(got) != 0 {
			t.Fatal("heard through a cut cable")
		}
		far.SetFaults(memory.Faults{})
		if a, b := <-got, <-got; a != "1" || b != "2" {
			t.Fatal(a, b)
		}
		cancel()
		<-got
	})
}

// TestFollowNoticesSilenceAndRewind: a mirror that is not fed says so, and one
// whose coordinator went back lists again and says why.
func TestFollowNoticesSilenceAndRewind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.NewServer(memory.Config{})
		near, far := s.Client(), s.Client()
		set(t, near, "f/a", "old")
		backup := s.Snapshot()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mirror string
		var live, rewound bool
		go func() {
			_ = coord.Follow(ctx, far, coord.Following{Prefix: "f/"}, func(u coord.Update) {
				live = u.Live
				rewound = rewound || errors.Is(u.Err, coord.ErrRewound)
				for _, kv := range u.All {
					mirror = string(kv.Value)
				}
				for _, c := range u.Changes {
					mirror = string(c.Value)
				}
			})
		}()
		check := func(when, value string, wantLive bool) {
			t.Helper()
			<-time.After(5 * time.Second)
			synctest.Wait()
			if mirror != value || live != wantLive {
				t.Fatalf("%s: mirror %q, live %v", when, mirror, live)
			}
		}
		check("at first", "old", true)
		far.SetFaults(memory.Faults{Down: errors.New("cable")})
		check("cut", "old", false)
		set(t, near, "f/a", "new")
		far.SetFaults(memory.Faults{})
		check("mended", "new", true)
		s.Restore(backup)
		check("restored", "old", true)
		if !rewound {
			t.Fatal("nobody was told that the coordinator went back")
		}
	})
}

// flaky answers two of three lists.
type flaky struct {
	coord.Coord
	asked  int
	listed map[string]int
}

func (f *flaky) List(ctx context.Context, prefix string) ([]coord.KV, cluster.Rev, error) {
	if !strings.HasSuffix(prefix, "/") { // it is asked for the revision
		return f.Coord.List(ctx, prefix)
	}
	if f.asked++; f.asked%3 == 0 {
		return nil, 0, coord.ErrUnavailable
	}
	f.listed[prefix]++
	return f.Coord.List(ctx, prefix)
}

func TestFollowListsNothingTwiceBecauseOfAnotherListThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New()
		f := &flaky{Coord: c, listed: map[string]int{}}
		set(t, c, "f/a/x", "1")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		keys, live := map[string]string{}, false
		go func() {
			_ = coord.Follow(ctx, f, coord.Following{Prefix: "f/", Lists: []string{"f/a/", "f/b/", "f/c/", "f/d/", "f/e/"}}, func(u coord.Update) {
				live = u.Live
				for _, kv := range u.All {
					keys[kv.Key] = string(kv.Value)
				}
				for _, c := range u.Changes {
					keys[c.Key] = string(c.Value)
				}
			})
		}()
		synctest.Wait() // a list has failed
		set(t, c, "f/a/x", "2")
		<-time.After(5 * time.Second)
		synctest.Wait()
		if !live || keys["f/a/x"] != "2" || len(f.listed) != 5 {
			t.Errorf("live %v, %v, listed %v", live, keys, f.listed)
		}
		for prefix, n := range f.listed {
			if n != 1 {
				t.Errorf("%s was listed %d times", prefix, n)
			}
		}
	})
}

// deaf hears no change: its watch is one that was taken up at another coordinator.
type deaf struct{ coord.Coord }

func (d deaf) Watch(ctx context.Context, _ string, _ cluster.Rev) iter.Seq2[[]coord.Change, error] {
	return func(func([]coord.Change, error) bool) { <-ctx.Done() }
}

func TestFollowNoticesARewindThatItsWatchDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.NewServer(memory.Config{})
		c := s.Client()
		set(t, c, "f/a", "old")
		backup := s.Snapshot()
		set(t, c, "f/a", "new")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mirror string
		var live, rewound bool
		go func() {
			_ = coord.Follow(ctx, deaf{c}, coord.Following{Prefix: "f/"}, func(u coord.Update) {
				live = u.Live
				rewound = rewound || errors.Is(u.Err, coord.ErrRewound)
				for _, kv := range u.All {
					mirror = string(kv.Value)
				}
			})
		}()
		<-time.After(time.Minute)
		if synctest.Wait(); rewound || !live || mirror != "new" {
			t.Fatalf("before: rewound %v, live %v, %q", rewound, live, mirror)
		}
		s.Restore(backup)
		<-time.After(5 * time.Second)
		if synctest.Wait(); !rewound || !live || mirror != "old" {
			t.Errorf("after: rewound %v, live %v, %q", rewound, live, mirror)
		}
	})
}
