package slot

import (
	"bytes"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/state"
)

// movedByHand is a world whose slots have tiny segments and whose movers only the
// test drives: theirs look once an hour.
func movedByHand(t testing.TB, slots int) *world {
	w := newWorld(t, slots)
	for _, n := range w.node {
		n.cfg.SegmentSize, n.cfg.Hurry.Move = 64<<10, time.Hour
		n.start()
	}
	w.lead(0)
	if slots > 1 {
		w.inSync()
	}
	if err := w.node[0].CreateAccount(t.Context(), accountText, 0); err != nil {
		t.Fatal(err)
	}
	return w
}

// handMover is a mover of the slot's present incarnation that does not wait.
func (n *node) handMover() *mover {
	m := newMover(n.current())
	m.pace = &pace{rate: 1 << 50, clock: n.cfg.Clock, sleep: sleep}
	return m
}

// sealed is where the newest segment begins.
func (n *node) sealed() cluster.LSN {
	j := n.current().journal
	return j.Sealed(j.End().LSN)
}

// move has the node move what its sealed segments have.
func (n *node) move(t testing.TB, m *mover) {
	t.Helper()
	n.world.eventually(func() error {
		if sealed, applied := n.sealed(), n.current().index.Applied().LSN; applied < sealed {
			return fmt.Errorf("applied to %d of %d", applied, sealed)
		}
		return nil
	})
	if err := m.moveSealed(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.damaged.save(n.cfg.FS, n.cfg.Spool); err != nil {
		t.Fatal(err)
	}
}

// located counts the bodies in packs and in the journal, and gives the lowest there.
func (n *node) located(t testing.TB) (packed, chunked int, lowest cluster.LSN) {
	t.Helper()
	snap, err := n.current().snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.release()
	for b, err := range state.Locations(snap, 0, 0) {
		switch {
		case err != nil:
			t.Fatal(err)
		case b.InPack():
			packed++
		default:
			if chunked++; chunked == 1 {
				lowest = cluster.LSN(b.Body)
			}
		}
	}
	return packed, chunked, lowest
}

// text is a message's octets, of about that size, none like another's.
func text(number, size int) string {
	rng := mathrand.New(mathrand.NewPCG(uint64(number), 7))
	var b strings.Builder
	fmt.Fprintf(&b, "Subject: %d\r\n\r\n", number)
	for b.Len() < size {
		fmt.Fprintf(&b, "%x %x\r\n", rng.Uint64(), rng.Uint64())
	}
	return b.String()
}

// fillSegments delivers messages until a segment was sealed behind the last of them.
func (n *node) fillSegments(t testing.TB, sizes ...int) (want []string) {
	t.Helper()
	for i, size := range sizes {
		octets := text(i, size)
		deliverOne(t, n, byte(i+1), octets)
		want = append(want, "Delivered-To: a\r\n"+octets)
	}
	for i, end := 200, n.current().journal.End().LSN; n.sealed() < end; i++ {
		octets := text(i, 20_000)
		deliverOne(t, n, byte(i), octets)
		want = append(want, "Delivered-To: a\r\n"+octets)
	}
	return want
}

var mixedSizes = []int{0, 100, 3000, 3000, 60_000, 300_000, 1 << 20, 2_500_000, 40, 5000}

func TestBodiesMoveToPacksAndReadTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 1)
		n := w.node[0]
		want := n.fillSegments(t, mixedSizes...)
		m := n.handMover()
		n.move(t, m)
		sealed := n.sealed()
		packed, _, lowest := n.located(t)
		if packed < len(mixedSizes) || lowest != 0 && lowest < sealed {
			t.Errorf("%d bodies in packs, the journal has one at %d, below %d", packed, lowest, sealed)
		}
		if got := contents(t, n); !slices.Equal(got, want) {
			t.Error("messages differ after the move")
		}
		w.eventually(func() error {
			if st := n.Status(); st.Settled != sealed || len(st.Damaged) > 0 {
				return fmt.Errorf("settled at %d of %d, damaged %v", st.Settled, sealed, st.Damaged)
			}
			return nil
		})
		if st := n.Stats().Packs; st.Packs == 0 || st.Octets == 0 || st.Moved != int64(packed) || st.Dead != 0 {
			t.Errorf("stats %+v, %d bodies moved", st, packed)
		}
		n.move(t, m) // nothing is left to do
		if st := n.Stats().Packs; st.Moved != int64(packed) {
			t.Errorf("moved again: %+v", st)
		}
		n.stop()
		n.start()
		w.lead(0)
		if got := contents(t, n); !slices.Equal(got, want) {
			t.Error("messages differ after opening again")
		}
		if after, _, _ := n.located(t); after != packed {
			t.Errorf("%d bodies in packs after opening again, %d before", after, packed)
		}
	})
}

// TestPacksSayWhoseTheirBodiesAre: with nothing but the file.
func TestPacksSayWhoseTheirBodiesAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 1)
		n := w.node[0]
		other := mail.AccountID{9}
		if err := n.CreateAccount(t.Context(), other.String(), 0); err != nil {
			t.Fatal(err)
		}
		a := n.Account(accountID)
		do := func(number uint64, op mail.Op) {
			t.Helper()
			if _, err := a.Do(t.Context(), mail.Request{ID: mail.OpID{Session: mail.SessionID{1}, Number: number}, Op: op}); err != nil {
				t.Fatal(err)
			}
		}
		v, err := a.View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		inbox, _ := v.Lookup("INBOX")
		sent, _ := v.Lookup("Sent")
		v.Close()
		_, err = n.Deliver(t.Context(), Delivery{
			Transaction: mail.TransactionID{1}, Octets: []byte("Subject: both\r\n\r\n"),
			Recipients: []state.Recipient{
				{Number: 1, Account: accountID, Prefix: []byte("To: a\r\n"), InternalDate: 77}, {Number: 2, Account: other, Prefix: []byte("To: b\r\n")},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		body, err := a.Stage(t.Context(), strings.NewReader("Subject: draft\r\n\r\n"), 1000)
		if err != nil {
			t.Fatal(err)
		}
		do(1, mail.Append{Mailbox: inbox.ID, Messages: []mail.NewMessage{{Body: body, Flags: mail.Draft}}})
		do(2, mail.Store{Mailbox: inbox.ID, UIDs: mail.UIDSet{{Lo: 1, Hi: 1}}, Mode: mail.AddFlags, Flags: mail.Seen, Keywords: []string{"$Work"}})
		do(3, mail.Copy{From: inbox.ID, UIDs: mail.UIDSet{{Lo: 1, Hi: 1}}, To: sent.ID})
		do(4, mail.Move{From: inbox.ID, UIDs: mail.UIDSet{{Lo: 2, Hi: 2}}, To: sent.ID})
		n.fillSegments(t)
		n.move(t, n.handMover())

		got := map[string]string{}
		for _, p := range n.current().packs.Packs() {
			path := n.cfg.FS.PathJoin(n.cfg.Spool, packsDir, p.ID.String()+".pack")
			f, err := n.cfg.FS.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for item, err := range pack.Scan(f, p.Size, p.ID) {
				if err != nil {
					t.Fatal(err)
				}
				var octets bytes.Buffer
				if _, err := octets.ReadFrom(item.Octets); err != nil {
					t.Fatal(err)
				}
				var owners strings.Builder
				for _, o := range item.Owners {
					fmt.Fprintf(&owners, "%x %s %d %v %v %q;", o.Account[0], o.Name, o.UID, o.Flags.Names(), o.Keywords, o.Prefix)
					if o.Name == "INBOX" && o.Account == accountID && octets.String() == "Subject: both\r\n\r\n" && o.InternalDate != 77 {
						t.Errorf("INTERNALDATE %v", o.InternalDate)
					}
				}
				got[octets.String()] = owners.String()
			}
		}
		for octets, want := range map[string][]string{
			"Subject: both\r\n\r\n": {
				`1 INBOX 1 [\Seen] [$Work] "To: a\r\n";`, `1 Sent 1 [\Seen] [$Work] "To: a\r\n";`, `9 INBOX 1 [] [] "To: b\r\n";`,
			},
			"Subject: draft\r\n\r\n": {`1 Sent 2 [\Draft] [] "";`},
		} {
			length := 0
			for _, o := range want {
				if length += len(o); !strings.Contains(got[octets], o) {
					t.Errorf("%q: owner %s is missing in %s", octets, o, got[octets])
				}
			}
			if length != len(got[octets]) {
				t.Errorf("%q: owners %s", octets, got[octets])
			}
		}
	})
}

func TestPartOfALargeBodyIsCheapToRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 1)
		n := w.node[0]
		want := n.fillSegments(t, 30<<20)
		n.move(t, n.handMover())
		fs := n.cfg.FS.(*power)
		v, err := n.Account(accountID).View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		inbox, err := v.Lookup("INBOX")
		if err != nil {
			t.Fatal(err)
		}
		msg, err := v.Message(inbox.ID, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, off := range []int64{0, 5 << 20, 29 << 20} {
			before := fs.read.Load()
			c, err := v.Open(t.Context(), msg)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 1<<10)
			if _, err := c.ReadAt(b, off); err != nil || string(b) != want[0][off:off+1<<10] {
				t.Errorf("at %d: %v", off, err)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if read := fs.read.Load() - before; read > 1<<20 {
				t.Errorf("1 KiB at %d took reading %d octets", off, read)
			}
		}
	})
}

// flip changes one bit of a file.
func flip(t testing.TB, fs vfs.FS, path string, at int64) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err = f.ReadAt(b, at); err == nil {
		b[0] ^= 4
		_, err = f.WriteAt(b, at)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// flipIn changes one bit of what a file of a directory has of a text.
func flipIn(t testing.TB, fs vfs.FS, dir, suffix, octets string) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, suffix) {
			continue
		}
		f, err := fs.Open(fs.PathJoin(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, info.Size())
		_, _ = f.ReadAt(b, 0)
		f.Close()
		if at := bytes.Index(b, []byte(octets)); at >= 0 {
			flip(t, fs, fs.PathJoin(dir, name), int64(at))
			return
		}
	}
	t.Fatalf("%q is nowhere in %s", octets, dir)
}

// readable tells for each message of INBOX, in order, why it cannot be read.
func readable(t testing.TB, n *node) (errs []error) {
	t.Helper()
	v, err := n.Account(accountID).View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	inbox, err := v.Lookup("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	for msg, err := range v.Messages(inbox.ID, 1, inbox.UIDNext) {
		if err != nil {
			t.Fatal(err)
		}
		c, err := v.Open(t.Context(), msg)
		if err == nil {
			_, err = c.ReadAt(make([]byte, c.Size()), 0)
			err = errors.Join(err, c.Close())
		}
		errs = append(errs, err)
	}
	return errs
}

// onlySecond: of all messages only the second cannot be read, and the status names it.
func onlySecond(t testing.TB, n *node, where string) {
	t.Helper()
	for i, err := range readable(t, n) {
		if errors.Is(err, mail.ErrCorrupt) != (i == 1) || (err != nil) != (i == 1) {
			t.Errorf("message %d: %v", i+1, err)
		}
	}
	lost := n.Status().Damaged
	if len(lost) != 1 || lost[0].Body == 0 || (lost[0].Pack == "") != (where == "journal") || lost[0].Why == "" {
		t.Errorf("damaged: %+v", lost)
	}
}

func TestDamagedBodyStaysInTheJournalAndOthersMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 1)
		n := w.node[0]
		want := n.fillSegments(t, 100, 2000, 300, 4000)
		flipIn(t, n.cfg.FS, n.cfg.FS.PathJoin(n.cfg.Meta, "journal"), ".seg", text(1, 2000))
		m := n.handMover()
		n.move(t, m)
		packed, _, lowest := n.located(t)
		if packed < 3 || lowest == 0 || lowest >= n.sealed() {
			t.Errorf("%d bodies in packs, lowest in the journal %d", packed, lowest)
		}
		onlySecond(t, n, "journal")
		w.eventually(func() error {
			if st := n.Status(); st.Settled != lowest {
				return fmt.Errorf("settled at %d, the damaged body is at %d", st.Settled, lowest)
			}
			return nil
		})
		n.fillSegments(t)
		n.move(t, m)
		onlySecond(t, n, "journal")
		a := n.Account(accountID)
		v, err := a.View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		inbox, _ := v.Lookup("INBOX")
		v.Close()
		expunge(t, n, inbox.ID, 2)
		if err := m.review(); err != nil || len(n.Status().Damaged) > 0 {
			t.Errorf("when nothing refers to it any more: %v, %v", n.Status().Damaged, err)
		}
		if got := contents(t, n); got[0] != want[0] || got[1] != want[2] {
			t.Error("other messages differ")
		}
	})
}

// expunge removes messages for good.
func expunge(t testing.TB, n *node, box mail.MailboxID, uids ...mail.UID) {
	t.Helper()
	var set mail.UIDSet
	for _, u := range uids {
		set = set.Add(u)
	}
	for _, op := range []mail.Op{
		mail.Store{Mailbox: box, UIDs: set, Mode: mail.AddFlags, Flags: mail.Deleted},
		mail.Expunge{Mailbox: box, UIDs: set},
	} {
		if _, err := n.Account(accountID).Do(t.Context(), mail.Request{Op: op}); err != nil {
			t.Fatal(err)
		}
	}
	if more, err := n.PurgeNow(t.Context(), accountText, "", "test"); err != nil || more {
		t.Fatalf("purge: %v, more %v", err, more)
	}
}

func TestContentFollowsABodyThatLeftTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 1)
		n := w.node[0]
		want := n.fillSegments(t, mixedSizes...)
		v, err := n.Account(accountID).View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		inbox, _ := v.Lookup("INBOX")
		var open []mail.Content
		for msg, err := range v.Messages(inbox.ID, 1, inbox.UIDNext) {
			if err != nil {
				t.Fatal(err)
			}
			c, err := v.Open(t.Context(), msg)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, c)
		}
		n.move(t, n.handMover())
		if err := n.current().journal.Trim(cluster.LSN(n.current().settled.Load())); err != nil {
			t.Fatal(err)
		}
		if _, err := n.current().journal.RecordHeader(100); !errors.Is(err, journal.ErrTrimmed) {
			t.Fatalf("the journal was not trimmed: %v", err)
		}
		for i, c := range open {
			for range 2 {
				b := make([]byte, c.Size())
				if _, err := c.ReadAt(b, 0); err != nil || string(b) != want[i] {
					t.Fatalf("message %d, opened before the move: %v", i+1, err)
				}
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
