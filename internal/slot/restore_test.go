package slot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	saved "github.com/tandemail/tandemail/internal/snapshot"
)

// save writes a snapshot of a slot's state now and returns its position.
func save(t testing.TB, n *node) cluster.LSN {
	t.Helper()
	if err := (&saver{incarnation: n.current()}).save(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n.Status().SnapshotLSN
}

// savedFiles lists a slot's snapshots, the newest first.
func savedFiles(t testing.TB, n *node) []saved.File {
	t.Helper()
	files, err := saved.List(n.cfg.FS, n.cfg.FS.PathJoin(n.cfg.Spool, snapshotsDir))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// flipHalfway changes one bit in the middle of a file.
func flipHalfway(t testing.TB, fs vfs.FS, path string) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	_, err = f.ReadAt(b[:], info.Size()/2)
	b[0] ^= 4
	if err == nil {
		_, err = f.WriteAt(b[:], info.Size()/2)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// loseIndex removes a stopped slot's index.
func loseIndex(t testing.TB, n *node) {
	t.Helper()
	if err := n.cfg.FS.RemoveAll(n.cfg.FS.PathJoin(n.cfg.Meta, "index")); err != nil {
		t.Fatal(err)
	}
}

// logged starts a stopped slot with a log that the test can read after stop.
func (n *node) logged() *bytes.Buffer {
	log := new(bytes.Buffer)
	n.cfg.Log = textLog(log)
	n.start()
	return log
}

// busy is a slot with an account and some history: deliveries, flags, moves.
func busy(t *testing.T, slots int) (*world, *node) {
	w := newWorld(t, slots)
	for _, n := range w.node {
		n.start()
	}
	n := w.lead(0)
	w.inSync()
	if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
		t.Fatal(err)
	}
	n.change(t, 1)
	return w, n
}

// change makes some more history; round tells apart what it does.
func (n *node) change(t *testing.T, round byte) {
	t.Helper()
	for i := range byte(5) {
		deliverOne(t, n, 10*round+i, fmt.Sprintf("Subject: %d-%d\r\n\r\nbody\r\n", round, i))
	}
	a := n.Account(accountID)
	v, err := a.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	inbox, err := v.Lookup("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	sent, err := v.Lookup("Sent")
	if err != nil {
		t.Fatal(err)
	}
	last := inbox.UIDNext - 1
	for _, op := range []mail.Op{
		mail.Store{Mailbox: inbox.ID, UIDs: mail.UIDSet{{Lo: last - 1, Hi: last}}, Mode: mail.AddFlags, Flags: mail.Seen | mail.Flagged, Keywords: []string{"$Forwarded"}},
		mail.Move{From: inbox.ID, UIDs: mail.UIDSet{{Lo: last, Hi: last}}, To: sent.ID},
		mail.Create{Name: fmt.Sprintf("folder %d/inner", round)},
	} {
		if _, err := a.Do(t.Context(), mail.Request{Op: op}); err != nil {
			t.Fatal(err)
		}
	}
}

func mustDigest(t *testing.T, n *node) Digest {
	t.Helper()
	d, err := n.Digest(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestLostIndexIsMadeOfTheNewestSnapshot: what a copy has afterwards is what the
// others have, by digest, whatever became of the index.
func TestLostIndexIsMadeOfTheNewestSnapshot(t *testing.T) {
	for name, lose := range map[string]func(*testing.T, *node){
		"missing": func(t *testing.T, n *node) { loseIndex(t, n) },
		"damaged": func(t *testing.T, n *node) {
			dir := n.cfg.FS.PathJoin(n.cfg.Meta, "index")
			names, err := n.cfg.FS.List(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range names {
				if cut, ok := bytes.CutPrefix([]byte(f), []byte("MANIFEST")); ok && len(cut) > 0 {
					flipHalfway(t, n.cfg.FS, n.cfg.FS.PathJoin(dir, f))
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, n := busy(t, 2)
				save(t, w.node[1])
				n.change(t, 2)
				at := save(t, w.node[1])
				n.change(t, 3)
				w.sameEverywhere()
				other := w.node[1]
				other.stop()
				lose(t, other)
				log := other.logged()
				w.inSync()
				w.sameEverywhere()
				if st := other.Status(); st.SnapshotLSN != at {
					t.Errorf("status tells of a snapshot at %d, it is at %d", st.SnapshotLSN, at)
				}
				other.stop()
				if want := fmt.Sprintf(`"index made of a snapshot" store=s1 slot=%v lsn=%d`, other.cfg.Slot, at); !bytes.Contains(log.Bytes(), []byte(want)) {
					t.Errorf("log lacks %s:\n%s", want, log)
				}
			})
		})
	}
}

// TestDamagedSnapshotsFallBack: to the older one, then to the journal's beginning, and
// each is named in the log.
func TestDamagedSnapshotsFallBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := busy(t, 1)
		older := save(t, n)
		n.change(t, 2)
		newer := save(t, n)
		n.change(t, 3)
		before := mustDigest(t, n)
		n.stop()
		for damaged, used := range []cluster.LSN{newer, older, 0} {
			files := savedFiles(t, n)
			if damaged > 0 {
				flipHalfway(t, n.cfg.FS, files[damaged-1].Path)
			}
			loseIndex(t, n)
			log := n.logged()
			w.eventually(func() error {
				if st := n.Status(); st.Applied < before.LSN {
					return errors.Join(n.nominated(), fmt.Errorf("applied %d of %d", st.Applied, before.LSN))
				}
				return nil
			})
			w.lead(0)
			now := mustDigest(t, n) // further on: an epoch began
			before.LSN, before.Chain = now.LSN, now.Chain
			if now != before {
				t.Errorf("%d damaged: digest %+v, was %+v", damaged, now, before)
			}
			n.stop()
			if want := fmt.Sprintf(`"index made of a snapshot" store=s1 slot=%v lsn=%d`, n.cfg.Slot, used); bytes.Contains(log.Bytes(), []byte(want)) != (used > 0) {
				t.Errorf("%d damaged, from %d: log\n%s", damaged, used, log)
			}
			if got := bytes.Count(log.Bytes(), []byte("snapshot cannot be used")); got != damaged {
				t.Errorf("%d damaged, %d called so: log\n%s", damaged, got, log)
			}
		}
	})
}

// TestSnapshotOfAnotherHistoryIsNotUsed: another slot's, or one whose chain the
// journal does not have.
func TestSnapshotOfAnotherHistoryIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := busy(t, 1)
		_, stranger := busy(t, 1)
		stranger.change(t, 2)
		save(t, stranger)
		path := savedFiles(t, stranger)[0].Path
		n.stop()
		if err := n.cfg.FS.MkdirAll(n.cfg.FS.PathDir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := copyFile(stranger.cfg.FS, n.cfg.FS, path); err != nil {
			t.Fatal(err)
		}
		loseIndex(t, n)
		log := n.logged()
		w.lead(0)
		if got := contents(t, n); len(got) != 4 {
			t.Errorf("%d messages", len(got))
		}
		n.stop()
		if !bytes.Contains(log.Bytes(), []byte("snapshot cannot be used")) {
			t.Errorf("log\n%s", log)
		}
	})
}

// TestPowerLossWhileAnIndexIsMadeLosesNothing: whenever it comes, the next open makes it.
func TestPowerLossWhileAnIndexIsMadeLosesNothing(t *testing.T) {
	t.Parallel()
	w, n := busy(t, 1)
	save(t, n)
	n.change(t, 2)
	want := contents(t, n)
	n.stop()
	loseIndex(t, n)
	for seed := range uint64(8) {
		rng := mathrand.New(mathrand.NewPCG(seed, 2))
		n.start()
		w.eventually(func() error {
			if _, err := n.cfg.FS.Stat(n.cfg.FS.PathJoin(n.cfg.Meta, []string{"index.new", "index"}[seed%2])); err != nil && n.current() == nil {
				return fmt.Errorf("%w: %+v", err, n.Status())
			}
			return nil
		})
		n.crash([]int{0, 50, 100}[seed%3], rng)
		if seed%2 == 0 {
			loseIndex(t, n)
		}
		// Else the batch after the snapshot would be taken for one that kills.
		if err := n.cfg.FS.Remove(n.cfg.FS.PathJoin(n.cfg.Meta, applyingFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	n.start()
	w.lead(0)
	if got := contents(t, n); len(got) != len(want) {
		t.Errorf("%d messages, were %d", len(got), len(want))
	}
}

func TestSnapshotsAreWrittenWhenTheyAreDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, later := newDatedWorld(t, 1)
		n := w.lead(0)
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		s := n.current().saver
		s.applied.Store(0)
		look := func(want bool) {
			t.Helper()
			before := n.Status().SnapshotLSN
			s.look(t.Context())
			if got := n.Status().SnapshotLSN > before; got != want {
				t.Errorf("written: %v, want %v", got, want)
			}
		}
		look(true) // there was none
		look(false)
		later.Store(int64(saveEvery + time.Minute))
		look(false) // nothing has changed
		deliverOne(t, n, 1, "Subject: x\r\n\r\n")
		look(true)
		deliverOne(t, n, 2, "Subject: x\r\n\r\n")
		look(false)
		s.applied.Store(saveAfter)
		look(true)
		deliverOne(t, n, 3, "Subject: x\r\n\r\n")
		n.used.Store(95)
		if err := n.cfg.Disk.Refresh(); err != nil {
			t.Fatal(err)
		}
		s.applied.Store(saveAfter)
		later.Add(int64(2 * saveEvery))
		look(false) // no room
		n.used.Store(10)
		if err := n.cfg.Disk.Refresh(); err != nil {
			t.Fatal(err)
		}
		n.cfg.FS.(*power).failSyncs.Store(1)
		look(false) // the disk failed it
		later.Add(int64(saveAgain))
		look(true)
		if got := len(savedFiles(t, n)); got != saved.Kept {
			t.Errorf("%d snapshots", got)
		}
	})
}

// TestSaverTakesItsTurnAndEndsWithTheSlot: another slot's work on the device holds it
// up, and nothing else does.
func TestSaverTakesItsTurnAndEndsWithTheSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, n := busy(t, 1)
		end, err := n.cfg.Disk.Turn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer end()
		ctx, cancel := context.WithCancel(t.Context())
		ended, ticks := make(chan struct{}), make(chan time.Time)
		s := &saver{incarnation: n.current()}
		go func() { defer close(ended); s.run(ctx, ticks) }()
		ticks <- time.Now()
		deliverOne(t, n, 99, "Subject: meanwhile\r\n\r\n")
		cancel()
		<-ended
		if got := savedFiles(t, n); len(got) > 0 {
			t.Errorf("written out of turn: %v", got)
		}
	})
}
