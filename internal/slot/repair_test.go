package slot

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/replica"
)

// repaired has m repair and checks that node n reads everything again, and says so.
func repaired(t *testing.T, n *node, m *mover, bodies int64) {
	t.Helper()
	m.mend = 0
	if err := m.repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(readable(t, n)...); err != nil {
		t.Errorf("after the repair: %v", err)
	}
	if st := n.Stats().Packs; st.Repaired != bodies || st.Damaged != 0 {
		t.Errorf("stats %+v; want %d repaired, none damaged", st, bodies)
	}
}

// damagedPair is a store whose copy 0 is damaged by flip, with what is wrong known.
func damagedPair(t *testing.T, move bool, damage func(n *node)) (*world, *node, *mover) {
	w := movedByHand(t, 2)
	n := w.node[0]
	n.fillSegments(t, 100, 700, 300)
	w.sameEverywhere()
	m := n.handMover()
	if move {
		n.move(t, m)
	}
	damage(n)
	return w, n, m
}

// TestDamagedBodyIsFetchedFromThePartner: from a pack or the journal, wherever the
// partner has it, and for ever.
func TestDamagedBodyIsFetchedFromThePartner(t *testing.T) {
	for name, c := range map[string]struct {
		move        bool
		dir, suffix string
	}{
		"pack":    {true, packsDir, ".pack"},
		"journal": {false, "journal", ".seg"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, n, m := damagedPair(t, c.move, func(n *node) {
					root := n.cfg.Spool
					if c.dir == "journal" {
						root = n.cfg.Meta
					}
					flipIn(t, n.cfg.FS, n.cfg.FS.PathJoin(root, c.dir), c.suffix, text(1, 700)[20:60])
				})
				if errs := readable(t, n); !errors.Is(errs[1], mail.ErrCorrupt) {
					t.Fatalf("read of the damaged body: %v", errs)
				}
				if lost := n.Status().Damaged; len(lost) != 1 || lost[0].Body == 0 {
					t.Fatalf("damaged: %v", lost)
				}
				repaired(t, n, m, 1)
				n.stop()
				n.start()
				w.lead(0)
				if err := errors.Join(readable(t, n)...); err != nil || len(n.Status().Damaged) > 0 {
					t.Errorf("after opening again: %v, %v", err, n.Status().Damaged)
				}
			})
		})
	}
}

// TestLostPacksAreFetchedFromThePartner: the files are gone.
func TestLostPacksAreFetchedFromThePartner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n, _ := damagedPair(t, true, func(n *node) {
			n.stop()
			if err := n.cfg.FS.RemoveAll(n.cfg.FS.PathJoin(n.cfg.Spool, packsDir)); err != nil {
				t.Fatal(err)
			}
			n.start()
		})
		w.lead(0)
		if err := n.handMover().nowhere(); err != nil || len(n.Status().Damaged) < 3 {
			t.Errorf("before anybody reads: %v, %v", n.Status().Damaged, err)
		}
		lost := int64(0)
		for _, err := range readable(t, n) {
			if errors.Is(err, mail.ErrCorrupt) {
				lost++
			} else if err != nil {
				t.Error(err)
			}
		}
		if lost < 3 {
			t.Fatalf("%d bodies are lost", lost)
		}
		repaired(t, n, n.handMover(), lost)
	})
}

// TestADiskThatDoesNotReadABodyCostsThatBodyAlone: EIO is damage like any other.
func TestADiskThatDoesNotReadABodyCostsThatBodyAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 1)
		n := w.node[0]
		n.fillSegments(t, 100, 700, 300)
		n.move(t, n.handMover())
		fs := n.cfg.FS.(*power)
		fs.badRead.Store(true)
		errs := readable(t, n)
		fs.badRead.Store(false)
		if !errors.Is(errs[0], mail.ErrCorrupt) || !errors.Is(errs[0], syscall.EIO) {
			t.Errorf("read: %v", errs[0])
		}
		if len(n.Status().Damaged) == 0 {
			t.Error("nothing is listed")
		}
		deliverOne(t, n, 100, "Subject: another\r\n\r\n")
	})
}

// TestADamagedBodyWaitsForThePartner: it stays on the list, and is given when the partner is
// back.
func TestADamagedBodyWaitsForThePartner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n, m := damagedPair(t, true, func(n *node) {
			flipIn(t, n.cfg.FS, n.cfg.FS.PathJoin(n.cfg.Spool, packsDir), ".pack", text(1, 700)[20:60])
		})
		readable(t, n)
		w.node[1].stop()
		if err := m.repair(t.Context()); err != nil {
			t.Fatal(err)
		}
		if st := n.Stats().Packs; st.Repaired != 0 || st.Damaged != 1 {
			t.Errorf("without a partner: %+v", st)
		}
		w.node[1].start()
		w.sameEverywhere()
		repaired(t, n, m, 1)
	})
}

// TestScrubFindsDamageInTheJournal: octets that nobody has asked for, of a body and of
// operations.
func TestScrubFindsDamageInTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, n, m := damagedPair(t, false, func(n *node) {
			flipIn(t, n.cfg.FS, n.cfg.FS.PathJoin(n.cfg.Meta, "journal"), ".seg", text(1, 700)[20:60])
		})
		s := n.handScrubber()
		for range 2 { // again: what was said of the journal is said anew
			if err := s.scrubJournal(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		var bodies, octets int
		for _, d := range n.Status().Damaged {
			switch {
			case d.Pack != "":
				t.Errorf("damaged: %+v", d)
			case d.Body == 0:
				octets++
			default:
				bodies++
			}
		}
		if bodies != 1 || octets != 1 {
			t.Errorf("%d bodies and %d places: %v", bodies, octets, n.Status().Damaged)
		}
		m.mend = 0
		if err := m.repair(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(readable(t, n)...); err != nil {
			t.Error(err)
		}
		if lost := n.Status().Damaged; len(lost) != 1 || lost[0].Body != 0 {
			t.Errorf("after the repair of the body: %v", lost)
		}
	})
}

// TestADamagedMemberIsMadeAnewWhenAPersonWantsThat: octets of the journal that are no
// body are not fetched from anywhere.
func TestADamagedMemberIsMadeAnewWhenAPersonWantsThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := trimmedWorld(t, 2)
		w.inSync()
		master, n := w.node[0], w.node[1]
		if err := n.Reseed(); !errors.Is(err, errMember) {
			t.Errorf("a whole member: %v", err)
		}
		n.damaged.note(Damaged{Why: "journal damaged"})
		if err := n.Reseed(); err != nil {
			t.Fatal(err)
		}
		w.eventually(func() error {
			if st := n.Status(); st.State != StateOK || len(st.Damaged) > 0 {
				return fmt.Errorf("%s, damaged: %v", st.State, st.Damaged)
			}
			return nil
		})
		master.damaged.note(Damaged{Why: "journal damaged"})
		if err := master.Reseed(); !errors.Is(err, errNoSource) || errors.Is(err, errMember) {
			t.Errorf("the master: %v", err)
		}
		w.copied(n)
	})
}

// TestADamagedMemberThatIsNeededGoesOn: the master is gone before it goes on without it.
func TestADamagedMemberThatIsNeededGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := trimmedWorld(t, 2)
		w.inSync()
		n := w.node[1]
		n.stop()
		n.cfg.Hurry.Leave = 100 * time.Millisecond
		n.start()
		w.eventually(func() error {
			if st := n.Status(); st.Role != replica.RoleReplica.String() {
				return errors.New(st.Role)
			}
			return nil
		})
		w.inSync()
		n.damaged.note(Damaged{Why: "journal damaged"})
		w.node[0].stop()
		if err := n.Reseed(); err != nil {
			t.Fatal(err)
		}
		w.eventually(func() error {
			if st := n.Status(); st.State != StateOK || n.wanted() {
				return fmt.Errorf("%s: %s", st.State, st.Reason)
			}
			return nil
		})
	})
}

// TestLargeBodyInTheJournalIsCompared: no octet of a damaged chunk is shown.
func TestLargeBodyInTheJournalIsCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 1)
		n := w.node[0]
		large := text(3, 2_500_000)
		deliverOne(t, n, 1, large)
		flipIn(t, n.cfg.FS, n.cfg.FS.PathJoin(n.cfg.Meta, "journal"), ".seg", large[1_500_000:1_500_040])
		if errs := readable(t, n); !errors.Is(errs[0], mail.ErrCorrupt) {
			t.Errorf("read: %v", errs)
		}
		if lost := n.Status().Damaged; len(lost) != 1 {
			t.Errorf("damaged: %v", lost)
		}
	})
}

// TestDamagedIndexIsMadeAnewUnderTheRunningSlot: octets of a table, met by a read.
func TestDamagedIndexIsMadeAnewUnderTheRunningSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := busy(t, 2)
		save(t, n)
		want := contents(t, n)
		n.stop() // so that all is in tables
		spoil(t, n)
		log := n.logged()
		w.eventually(func() error {
			if m := w.master(); m == nil {
				return errors.Join(n.nominated(), errors.New("no master"))
			}
			return nil
		})
		w.eventually(func() error {
			got, err := n.contentsOrError(t)
			if err == nil && len(got) != len(want) {
				err = fmt.Errorf("%d messages", len(got))
			}
			return errors.Join(err, n.nominated())
		})
		w.sameEverywhere()
		n.stop()
		if s := log.String(); !strings.Contains(s, "it is rebuilt") {
			t.Errorf("the index was not made anew:\n%s", s)
		}
	})
}

// contentsOrError reads one mailbox; a damaged index shows as an error.
func (n *node) contentsOrError(t *testing.T) (got []string, err error) {
	v, err := n.Account(accountID).View(t.Context())
	if err != nil {
		return nil, err
	}
	defer v.Close()
	inbox, err := v.Lookup("INBOX")
	if err != nil {
		return nil, err
	}
	for m, err := range v.Messages(inbox.ID, 1, inbox.UIDNext) {
		if err != nil {
			return nil, err
		}
		got = append(got, fmt.Sprint(m.UID))
	}
	return got, nil
}

// spoil flips bits in the first half of each of the index's tables, where its data is.
func spoil(t *testing.T, n *node) {
	t.Helper()
	dir := n.cfg.FS.PathJoin(n.cfg.Meta, "index")
	names, err := n.cfg.FS.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range names {
		if strings.HasSuffix(f, ".sst") {
			path := n.cfg.FS.PathJoin(dir, f)
			info, err := n.cfg.FS.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			for k := range info.Size() / 2 {
				if k%64 == 0 {
					flip(t, n.cfg.FS, path, k)
				}
			}
		}
	}
}

// TestSlotWhoseIndexFailedOpensAgain: when the disk takes writes again, in the same
// process, whatever Pebble left behind.
func TestSlotWhoseIndexFailedOpensAgain(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"MANIFEST", ".sst"} {
		for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
			t.Run(fmt.Sprint(file, " ", errno), func(t *testing.T) {
				t.Parallel()
				w, n := busy(t, 2)
				other := w.node[1]
				fs := other.cfg.FS.(*power)
				fs.badWrite.Store(&badWrite{file, errno})
				if _, err := other.current().index.Flush(); err == nil {
					t.Fatal("flushed to a broken disk")
				}
				w.eventually(func() error {
					if st := other.Status(); st.State != StateFailed || !strings.Contains(st.Reason, errno.Error()) {
						return fmt.Errorf("state %s: %s", st.State, st.Reason)
					}
					return nil
				})
				n.change(t, 2) // the partner goes on
				fs.badWrite.Store(nil)
				w.sameEverywhere()
			})
		}
	}
}

// badWrite makes writes fail to files whose names contain a text.
type badWrite struct {
	file string
	err  error
}

func (b *badWrite) of(name string) error {
	if b != nil && strings.Contains(name, b.file) {
		return &os.PathError{Op: "write", Path: name, Err: b.err}
	}
	return nil
}
