package slot

import (
	"bytes"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/mail"
	saved "github.com/tandemail/tandemail/internal/snapshot"
	"github.com/tandemail/tandemail/internal/state"
)

// remove expunges messages of INBOX as a client would; they can come back.
func remove(t testing.TB, n *node, uids mail.UIDSet) {
	t.Helper()
	inbox, _ := inboxOf(t, n)
	actor := mail.Actor{User: "ann", Session: mail.SessionID{5}, Remote: "192.0.2.7:5", Command: "EXPUNGE"}
	for _, op := range []mail.Op{
		mail.Store{Mailbox: inbox, UIDs: uids, Mode: mail.AddFlags, Flags: mail.Deleted | mail.Flagged},
		mail.Expunge{Mailbox: inbox, UIDs: uids},
	} {
		if _, err := n.Account(accountID).Do(t.Context(), mail.Request{Actor: actor, Op: op}); err != nil {
			t.Fatal(err)
		}
	}
}

func mustDeleted(t testing.TB, n *node, q DeletedQuery) Deleted {
	t.Helper()
	d, err := n.Deleted(t.Context(), accountText, q)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const asked = "05000000000000000000000000000000"

func TestWhatWasExpungedIsListedAndComesBackOnBothCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newDatedWorld(t, 2)
		n := w.lead(0)
		w.inSync()
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		for i, subject := range []string{"first", "=?utf-8?q?gr=C3=BCn?=", "third\x1b[31m"} {
			deliverOne(t, n, byte(i+1), "Message-ID: <"+string(rune('a'+i))+"@x>\r\nSubject: "+subject+"\r\n\r\n")
		}
		want := contents(t, n)
		inbox, _ := inboxOf(t, n)
		remove(t, n, mail.UIDSet{{Lo: 1, Hi: 3}})
		d := mustDeleted(t, n, DeletedQuery{Mailbox: "inbox", Details: 2})
		if len(d.Mailboxes) != 1 || d.Mailboxes[0].Expunged != 3 || d.Mailboxes[0].UIDs.String() != "1:3" || d.Taken["INBOX"] != inbox || len(d.Messages) != 2 {
			t.Fatalf("deleted: %+v", d)
		}
		if m := d.Messages[1]; m.UID != 2 || m.Subject != "grün" || m.By.Remote != "192.0.2.7:5" || m.By.Command != "EXPUNGE" || m.By.User != "ann" {
			t.Errorf("described as %+v", m)
		}
		if m := mustDeleted(t, n, DeletedQuery{UIDs: mail.UIDSet{{Lo: 3, Hi: 3}}, Mailbox: "INBOX", Details: 9}).Messages; len(m) != 1 || strings.ContainsRune(m[0].Subject, 0x1b) {
			t.Errorf("one UID: %+v", m)
		}
		late := mail.InstantOf(time.Now().Add(time.Hour))
		if d := mustDeleted(t, n, DeletedQuery{Since: late}); len(d.Mailboxes) != 0 {
			t.Errorf("deleted in the future: %+v", d)
		}
		u := Undelete{Session: asked, Number: 1, Mailbox: inbox, UIDs: d.Mailboxes[0].UIDs, To: inbox}
		for range 2 { // the second answer is the first
			out, err := n.Undelete(t.Context(), accountText, "operator root@m1", u)
			if err != nil || out.Source.String() != "1:3" || out.UIDs.String() != "4:6" {
				t.Errorf("came back: %+v, %v", out, err)
			}
		}
		if got := contents(t, n); !slices.Equal(got, want) {
			t.Errorf("came back as %q", got)
		}
		w.sameEverywhere()
		h, err := n.History(t.Context(), accountText, HistoryQuery{MessageID: "<b@x>", Limit: 10})
		if err != nil || len(h.Deeds) != 3 || len(h.Places) != 1 || h.Places[0].UID != 5 {
			t.Fatalf("history: %+v, %v", h, err)
		}
		for i, kind := range []string{state.DeedFlagDeleted, state.DeedExpunge, state.DeedUndelete} {
			if h.Deeds[i].Kind != kind || h.Deeds[i].Mailbox != "INBOX" {
				t.Errorf("deed %d: %+v", i, h.Deeds[i])
			}
		}
		if by := h.Deeds[2].By; by.By != "operator root@m1" || by.Command != "user undelete" || by.Session != asked {
			t.Errorf("undeleted by %+v", by)
		}
		if h, err := n.History(t.Context(), accountText, HistoryQuery{Mailbox: "INBOX", UID: 6, Limit: 2}); err != nil || len(h.Deeds) != 2 || !h.More || h.Deeds[1].ToUIDs != "4:6" {
			t.Errorf("the newest two of a message by its new UID: %+v, %v", h, err)
		}
		if _, err := n.Undelete(t.Context(), accountText, "", Undelete{Session: "05"}); err == nil {
			t.Error("an id of one octet is taken")
		}
	})
}

func TestDeletedMailboxAndAccountComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newDatedWorld(t, 1)
		n := w.lead(0)
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		deliverOne(t, n, 1, "Subject: x\r\n\r\n")
		if _, err := n.Account(accountID).Do(t.Context(), mail.Request{Op: mail.Delete{Name: "Junk"}}); err != nil {
			t.Fatal(err)
		}
		d := mustDeleted(t, n, DeletedQuery{})
		if len(d.Mailboxes) != 1 || !d.Mailboxes[0].Wanted || d.Mailboxes[0].Name != "Junk" || d.Taken["Junk"] != (mail.MailboxID{}) {
			t.Fatalf("deleted: %+v", d)
		}
		u := Undelete{Session: asked, Number: 1, Mailbox: d.Mailboxes[0].ID, Name: "Junk"}
		if _, err := n.Undelete(t.Context(), accountText, "", u); err != nil {
			t.Fatal(err)
		}
		if d := mustDeleted(t, n, DeletedQuery{}); d.Taken["Junk"] != u.Mailbox || len(d.Mailboxes) != 0 {
			t.Errorf("after it came back: %+v", d)
		}
		if err := n.DeleteAccount(t.Context(), accountText); err != nil {
			t.Fatal(err)
		}
		if d := mustDeleted(t, n, DeletedQuery{}); d.Account.IsZero() {
			t.Error("nothing says when the account was deleted")
		}
		h, err := n.History(t.Context(), accountText, HistoryQuery{Limit: 1})
		if err != nil || h.Deeds[0].Kind != state.DeedDeleteAccount || h.Deeds[0].By.Command != "user delete" {
			t.Errorf("history of a deleted account: %+v, %v", h, err)
		}
		for range 2 {
			if err := n.UndeleteAccount(t.Context(), accountText, "o"); err != nil {
				t.Fatal(err)
			}
		}
		if got := contents(t, n); len(got) != 1 {
			t.Errorf("%d messages", len(got))
		}
		if err := n.Freeze(t.Context(), accountText, true, "o", "test"); err != nil {
			t.Fatal(err)
		}
		if list, err := n.FrozenAccounts(t.Context()); err != nil || len(list) != 1 || list[0] != accountID {
			t.Errorf("frozen: %v, %v", list, err)
		}
		if err := n.DeleteAccount(t.Context(), accountText); err != nil {
			t.Fatal(err)
		}
		if more, err := n.PurgeNow(t.Context(), accountText, "", "o"); more || err != nil {
			t.Errorf("purge: %v, %v", more, err)
		}
		if err := n.UndeleteAccount(t.Context(), accountText, "o"); !errors.Is(err, mail.ErrNoAccount) {
			t.Errorf("after the purge: %v", err)
		}
		if _, err := n.Deleted(t.Context(), accountText, DeletedQuery{}); !errors.Is(err, mail.ErrNoAccount) {
			t.Errorf("after the purge: %v", err)
		}
	})
}

func TestNothingGoesBeforeTheRetentionTimeIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, later := newDatedWorld(t, 1)
		n := w.lead(0)
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		deliverOne(t, n, 1, "Subject: x\r\n\r\n")
		remove(t, n, mail.UIDSet{{Lo: 1, Hi: 1}})
		later.Store(int64(retention + time.Hour))
		for _, tc := range []struct {
			keep time.Duration
			left int
		}{{0, 1}, {retention + 2*time.Hour, 1}, {retention, 0}} {
			n.SetRetention(tc.keep)
			if err := purgerOf(n).look(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := len(mustDeleted(t, n, DeletedQuery{}).Mailboxes); got != tc.left {
				t.Errorf("kept for %v: %d mailboxes with something that can come back, want %d", tc.keep, got, tc.left)
			}
		}
	})
}

// holds lists the files below dir that contain octets.
func holds(t testing.TB, fs vfs.FS, dir string, octets []byte) (found []string) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			found = append(found, holds(t, fs, path, octets)...)
			continue
		}
		f, err := fs.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, octets) {
			found = append(found, path)
		}
	}
	return found
}

// TestPurgedMessageLeavesTheDisksOfBothCopies: the packs give its octets up with the
// next collection, the snapshots its header when two newer ones are there. The journal
// is not looked at: it has them until it is trimmed. Nor are the index's files, which
// drop what was removed when they are compacted; the index itself has nothing.
func TestPurgedMessageLeavesTheDisksOfBothCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := movedByHand(t, 2)
		n := w.node[0]
		rng := mathrand.New(mathrand.NewPCG(1, 2))
		marker := make([]byte, 3000) // nothing to compress, so that it stands there as it is
		for i := range marker {
			marker[i] = 0x80 | byte(rng.Uint32())
		}
		header := []byte("X-Marker: 0123456789abcdef")
		if _, err := n.Deliver(t.Context(), Delivery{
			Transaction: mail.TransactionID{200}, Octets: append([]byte("Subject: x\r\n\r\n"), append(slices.Clone(marker), "\r\n"...)...),
			Recipients: []state.Recipient{{Account: accountID, Prefix: append(slices.Clone(header), "\r\n"...)}},
		}); err != nil {
			t.Fatal(err)
		}
		n.fillSegments(t, mixedSizes...)
		_, next := inboxOf(t, n)
		inHeader := func(n *node) (found int) {
			for _, f := range savedFiles(t, n) {
				r, err := saved.Open(n.cfg.FS, f.Path)
				if err != nil {
					t.Fatal(err)
				}
				for p, err := range r.Pairs() {
					if err != nil {
						t.Fatal(err)
					}
					if bytes.Contains(p.Value, header) {
						found++
					}
				}
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
			}
			return found
		}
		part := marker[1000:1064]
		movers := map[*node]*mover{}
		for _, n := range w.nodes() {
			movers[n] = n.handMover()
			n.move(t, movers[n])
			save(t, n)
			if len(holds(t, n.cfg.FS, n.cfg.Spool, part)) == 0 || inHeader(n) == 0 {
				t.Fatal("it is not found where it must be")
			}
		}
		remove(t, n, mail.UIDSet{{Lo: 1, Hi: next - 3}})
		if more, err := n.PurgeNow(t.Context(), accountText, "INBOX", "operator"); err != nil || more {
			t.Fatalf("purge: %v, more %v", err, more)
		}
		if _, err := n.PurgeNow(t.Context(), accountText, "no such", "operator"); !errors.Is(err, mail.ErrNoMailbox) {
			t.Errorf("purge of a mailbox that never was: %v", err)
		}
		w.sameEverywhere()
		for i, n := range w.nodes() {
			n.itsTurn(t, true)
			if err := movers[n].collectSome(t.Context()); err != nil {
				t.Fatal(err)
			}
			save(t, n)
			deliverOne(t, w.node[0], byte(100+i), "Subject: y\r\n\r\n") // a snapshot needs something new
			w.sameEverywhere()
			save(t, n)
			if found := holds(t, n.cfg.FS, n.cfg.Spool, part); len(found) > 0 {
				t.Errorf("%v: its octets are in %v", n.cfg.Slot, found)
			}
			if n := inHeader(n); n > 0 {
				t.Errorf("its header is in %d records of snapshots", n)
			}
			snap, err := n.current().snapshot()
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range snap.Scan([]byte{'a'}, []byte{'z'}) {
				if bytes.Contains(v, header) {
					t.Error("its header is in the index")
				}
			}
			snap.release()
		}
		if got := contents(t, n); len(got) != 4 {
			t.Errorf("%d messages are left, want 4", len(got))
		}
	})
}
