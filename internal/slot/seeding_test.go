package slot

import (
	"context"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/replica"
)

// outOfSet waits until the record does not rely on a stopped node any more.
func (w *world) outOfSet(n *node) {
	w.t.Helper()
	w.eventually(func() error {
		if rec, _, _, _ := w.Read(w.t.Context()); rec.IsInSync(n.cfg.Slot) {
			return errors.New("in the set still")
		}
		return nil
	})
}

// fellBehind stops node 1 until the master's journal begins after its end.
func (w *world) fellBehind() (master, other *node) {
	w.t.Helper()
	master, other = w.node[0], w.node[1]
	end := other.Status().End
	other.stop()
	w.outOfSet(other)
	master.trimmed(w.t, end)
	return master, other
}

// copied checks that a node is a copy of the master and serves everything when it leads.
func (w *world) copied(n *node) {
	w.t.Helper()
	w.sameEverywhere()
	w.inSync() // it may have left for a while
	want := octetsOf(w.t, w.master(), "INBOX")
	for _, other := range w.node {
		if other != n {
			other.stop()
		}
	}
	w.lead(slices.Index(w.node, n))
	if got := octetsOf(w.t, n.Slot, "INBOX"); !maps.Equal(got, want) {
		w.t.Errorf("%d messages, want %d, or they differ", len(got), len(want))
	}
	if st := n.Status(); len(st.Damaged) > 0 {
		w.t.Errorf("damaged: %v", st.Damaged)
	}
}

func TestSlotThatIsTooFarBehindBecomesACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := trimmedWorld(t, 2)
		master, other := w.fellBehind()
		packs := master.current().packs.Packs()
		other.start()
		w.inSync()
		w.eventually(func() error {
			if other.Status().State != StateOK {
				return fmt.Errorf("%+v", other.Status())
			}
			return nil
		})
		if len(packs) == 0 {
			t.Error("the master has no packs")
		}
		aside, err := other.cfg.FS.List(other.cfg.FS.PathJoin(other.cfg.Meta, asideDir))
		if err != nil || len(aside) != 1 || !other.exists(other.cfg.Meta, asideDir, aside[0], "journal") {
			t.Errorf("set aside: %v, %v", aside, err)
		}
		if other.exists(other.cfg.Meta, seedDir) || other.exists(other.cfg.Spool, seedDir) {
			t.Error("remains of the copy")
		}
		w.copied(other)
	})
}

func TestNewSlotBecomesACopyWhileMailArrives(t *testing.T) {
	t.Parallel()
	w := trimmedWorld(t, 2)
	w.node[0].trimmed(t, 0)
	w.node[1].stop()
	w.outOfSet(w.node[1])
	ctx, cancel := context.WithCancel(t.Context())
	l := &ledger{scale: 3, acked: map[string]mail.UID{}}
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() { l.writer(ctx, t, w, i) })
	}
	lost := w.node[1].cfg.Slot
	w.mu.Lock()
	w.node = w.node[:1]
	w.mu.Unlock()
	n := w.add(inMemory(2))
	n.trimSoon()
	w.replace(lost, n)
	w.inSync()
	w.progress(l, 20)
	cancel()
	all.Wait()
	w.sameEverywhere()
	w.node[0].stop()
	w.lead(1)
	got := octetsOf(t, n.Slot, "INBOX")
	for subject, uid := range l.acked {
		if want := "Subject: " + subject; len(got[uid]) < len(want) || got[uid][:len(want)] != want {
			t.Errorf("acknowledged %s as UID %d, there is %.40q", subject, uid, got[uid])
		}
	}
}

func TestDamagedSlotBecomesACopy(t *testing.T) {
	for name, lose := range map[string]func(*testing.T, *node){
		"journal": func(t *testing.T, n *node) {
			dir := n.cfg.FS.PathJoin(n.cfg.Meta, "journal")
			names, _ := n.cfg.FS.List(dir)
			slices.Sort(names)
			for _, name := range names {
				if len(name) == 20 { // a segment: the oldest
					flip(t, n.cfg.FS, n.cfg.FS.PathJoin(dir, name), 40)
					return
				}
			}
		},
		"index and snapshots": func(t *testing.T, n *node) {
			loseIndex(t, n)
			for _, f := range savedFiles(t, n) {
				flipHalfway(t, n.cfg.FS, f.Path)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := trimmedWorld(t, 2)
				w.node[0].trimmed(t, 0)
				w.sameEverywhere()
				n := w.node[1]
				w.eventually(func() error {
					if n.Status().Low == 0 {
						return errors.New("not trimmed")
					}
					return nil
				})
				n.stop()
				w.outOfSet(n)
				lose(t, n)
				n.start()
				w.inSync()
				w.copied(n)
			})
		})
	}
}

func TestSlotOfTheSetIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := trimmedWorld(t, 2)
		for _, n := range w.node {
			if err := n.Reseed(); !errors.Is(err, errNoSource) {
				t.Errorf("reseed: %v", err)
			}
		}
		w.node[1].stop()
		w.outOfSet(w.node[1])
		w.node[1].start()
		for w.node[1].Reseed() != nil { // it joins the set soon
			if rec, _, _, _ := w.Read(t.Context()); rec.IsInSync(w.node[1].cfg.Slot) {
				w.node[1].stop()
				w.outOfSet(w.node[1])
				w.node[1].start()
			}
		}
		w.copied(w.node[1])
	})
}

func TestContradictedSlotWaitsForAPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := trimmedWorld(t, 2)
		n := w.node[1]
		n.stop()
		w.outOfSet(n)
		s := New(n.cfg)
		s.RecordSeen(w.rec.Clone(), w.rev, w.rev)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		failed := fmt.Errorf("%w: %v", errFailed, replica.Problem{Code: replica.Diverged})
		go func() { done <- s.awaitRescue(ctx, failed) }()
		if err := s.Reseed(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil || !s.wanted() {
			t.Errorf("rescue: %v", err)
		}
	})
}

// TestCopySurvivesWhateverEndsIt: the power of either machine goes while a copy is being
// made, again and again; at the end it is whole. A slot that is no whole copy is never in
// the set.
func TestCopySurvivesWhateverEndsIt(t *testing.T) {
	t.Parallel()
	var cuts, begun atomic.Int64
	t.Run("all", func(t *testing.T) {
		for seed := range calamitySeeds() {
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				t.Parallel()
				rng := mathrand.New(mathrand.NewPCG(seed, 5))
				w := trimmedWorld(t, 2)
				master, other := w.node[0], w.node[1]
				for range 5 {
					if !seeding(other) {
						w.fellBehind()
					}
					other.start()
					w.soon(func() bool { return seeding(other) || other.Status().State == StateOK })
					moments := rng.IntN(25)
					w.soon(func() bool { moments--; return moments < 0 || !seeding(other) })
					victims := [][]*node{{other}, {other}, {master}, {other, master}}[rng.IntN(4)]
					for _, v := range victims {
						v.crash([]int{0, 50, 100}[rng.IntN(3)], rng)
						cuts.Add(1)
					}
					if seeding(other) {
						begun.Add(1)
						if rec, _, _, _ := w.Read(t.Context()); rec.IsInSync(other.cfg.Slot) {
							t.Error("a slot that is being made is in the set")
						}
					}
					other.stop()
					if slices.Contains(victims, master) {
						master.start()
						w.lead(0)
					}
				}
				other.start()
				w.inSync()
				if got := len(contents(t, master)); got != w.sent {
					t.Errorf("%d messages, want %d", got, w.sent)
				}
				w.copied(other)
			})
		}
	})
	t.Logf("%d cuts, %d of a copy in the making", cuts.Load(), begun.Load())
	if begun.Load() == 0 {
		t.Error("no copy was interrupted")
	}
}

// seeding reports whether what the node's disks say is that it is being made a copy.
func seeding(n *node) bool {
	id, err := Inspect(n.cfg.FS, n.cfg.Meta, n.cfg.Spool)
	return err == nil && id.Seeding
}

// soon waits, looking every millisecond.
func (w *world) soon(f func() bool) {
	w.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for !f() {
		select {
		case <-tick.C:
		case <-limit:
			w.t.Fatal("never happened")
		}
	}
}

// cutConn ends when so many octets were written.
type cutConn struct {
	net.Conn
	left *atomic.Int64
}

func (c cutConn) Write(b []byte) (int, error) {
	if c.left.Add(-int64(len(b))) < 0 {
		return 0, errors.Join(errors.New("cut"), c.Close())
	}
	return c.Conn.Write(b)
}

func TestPacksThatCameWholeAreNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := trimmedWorld(t, 2)
		master, other := w.fellBehind()
		i := 10_000
		w.eventually(func() error {
			i++
			deliverText(t, master, i, text(i, 20_000))
			if n := len(master.current().packs.Packs()); n < 4 {
				return fmt.Errorf("%d packs", n)
			}
			return nil
		})
		master.stop()
		master.cfg.Hurry.Move, master.cfg.Hurry.Collect = time.Hour, time.Hour // what it has stays what it has
		master.start()
		w.lead(0)
		var packed int64
		for _, p := range master.current().packs.Packs() {
			packed += p.Size
		}
		var left atomic.Int64
		calls := 0
		w.connectSeed = func() (net.Conn, net.Conn, error) {
			if calls++; calls == 1 {
				left.Store(packed * 3 / 4)
			} else {
				left.Store(1 << 40)
			}
			here, there, err := pipe()
			return here, cutConn{there, &left}, err
		}
		other.start()
		w.inSync()
		journal := int64(master.Status().End - master.Status().Low)
		t.Logf("%d octets of %d and a journal of %d", 1<<40-left.Load(), packed, journal)
		if sent := 1<<40 - left.Load(); calls < 2 || sent >= packed+journal { // with a snapshot, and without some packs
			t.Errorf("%d calls, at last %d octets of %d and a journal of %d", calls, sent, packed, journal)
		}
		w.copied(other)
	})
}
