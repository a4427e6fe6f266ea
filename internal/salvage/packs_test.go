package salvage

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/state"
)

// packed moves copies of all bodies of the stopped slot into a pack, as a mover does,
// and returns its path.
func (l *lone) packed() string {
	l.t.Helper()
	db, err := index.Open(index.Config{FS: vfs.Default, Dir: filepath.Join(l.cfg.Meta, "index")})
	if err != nil {
		l.t.Fatal(err)
	}
	snap, err := db.Snapshot()
	if err != nil {
		l.t.Fatal(err)
	}
	entries := l.entries(snap)
	dir := filepath.Join(l.cfg.Spool, "packs")
	set, err := pack.Open(pack.Config{FS: vfs.Default, Dir: dir, Disk: l.cfg.Disk})
	if err != nil {
		l.t.Fatal(err)
	}
	w, err := set.Create()
	if err != nil {
		l.t.Fatal(err)
	}
	from := &work{fs: readOnly{vfs.Default}, from: &found{journal: filepath.Join(l.cfg.Meta, "journal")}, report: &SlotReport{}, db: db}
	if err := from.openJournal(); err != nil {
		l.t.Fatal(err)
	}
	for _, e := range entries {
		b, err := from.body(snap, e.Body)
		if err != nil {
			l.t.Fatal(err)
		}
		if _, err := w.Add(*e, io.NewSectionReader(b, 0, e.Length)); err != nil {
			l.t.Fatal(err)
		}
	}
	p, err := w.Seal()
	set.Close()
	if err := errors.Join(err, snap.Close(), db.Close(), from.journal.Close()); err != nil {
		l.t.Fatal(err)
	}
	return filepath.Join(dir, p.ID.String()+".pack")
}

// entries describes every body for a pack, in its order.
func (l *lone) entries(snap *index.Snapshot) (list []*pack.Entry) {
	by := map[mail.BodyID]*pack.Entry{}
	for _, id := range []mail.AccountID{alice, bob} {
		v, err := state.NewView(snap, id, nil, nil)
		if err != nil {
			l.t.Fatal(err)
		}
		for box := range v.Mailboxes() {
			if box.NonExistent {
				continue
			}
			for m, err := range v.Messages(box.ID, 1, box.UIDNext) {
				if err != nil {
					l.t.Fatal(err)
				}
				body := m.Extents[0].Body
				if by[body] == nil {
					rec, _, err := state.ReadBody(snap, body)
					if err != nil {
						l.t.Fatal(err)
					}
					by[body] = &pack.Entry{Body: body, Length: rec.Length, SHA256: rec.SHA256}
					list = append(list, by[body])
				}
				o := pack.Owner{
					Account: id, Address: addressOf(id), Mailbox: box.ID, Name: box.Name, UID: m.UID, InternalDate: m.InternalDate, Prefix: m.Prefix,
				}
				for f := range v.Flags(box.ID, m.UID, m.UID, 0) {
					o.Flags, o.Keywords = f.Flags, keywords(box.Keywords, f.Keywords)
				}
				by[body].Owners = append(by[body].Owners, o)
			}
		}
	}
	slices.SortFunc(list, (*pack.Entry).Compare)
	return list
}

// unknownValidity is what a message shows whose mailbox nobody knows any more.
func unknownValidity(boxes map[string][]stored) map[string][]stored {
	got := map[string][]stored{}
	for name, list := range boxes {
		for _, m := range list {
			m.Validity = 0
			got[name] = append(got[name], m)
		}
	}
	return got
}

func withoutEmpty(boxes map[string][]stored) map[string][]stored {
	for name, list := range boxes {
		if len(list) == 0 && name != "INBOX" {
			delete(boxes, name)
		}
	}
	return boxes
}

func TestPacksAloneTellWhoseMessagesWere(t *testing.T) {
	l, _, want := filled(t)
	l.stop()
	l.packed()
	for _, d := range []string{l.cfg.Meta, filepath.Join(l.cfg.Spool, "slot")} {
		if err := os.RemoveAll(d); err != nil {
			t.Fatal(err)
		}
	}
	r := run(t, Config{From: []string{l.cfg.Spool}})
	s := r.Slots[0]
	if r.Complete || s.LSN != 0 || s.LostCount != 0 || len(s.Accounts) != 2 {
		t.Errorf("report %+v", s)
	}
	for id, boxes := range want {
		got := readMaildir(t, filepath.Join(s.To, addressOf(id)))
		if diff := cmp.Diff(withoutEmpty(unknownValidity(boxes)), got); diff != "" {
			t.Errorf("%s: slot (-), Maildir (+):\n%s", addressOf(id), diff)
		}
	}
}

// TestSpoolAloneHasTheSnapshotAndWhatPacksKnowBeyondIt: the fast disk is lost.
func TestSpoolAloneHasTheSnapshotAndWhatPacksKnowBeyondIt(t *testing.T) {
	l, _, want := filled(t)
	l.stop()
	l.save()
	l.start()
	l.deliver(100, "Subject: after the snapshot\r\n\r\n", bob)
	l.do(alice, mail.Store{Mailbox: l.box(alice, "INBOX").ID, UIDs: one(2), Mode: mail.AddFlags, Flags: mail.Deleted})
	l.do(alice, mail.Expunge{Mailbox: l.box(alice, "INBOX").ID, UIDs: one(2)})
	later := l.all(bob)["INBOX"]
	l.stop()
	path := l.packed()
	if err := os.RemoveAll(l.cfg.Meta); err != nil {
		t.Fatal(err)
	}
	// A copy of UID 2 is left in another mailbox, so its body is in the pack.
	last := later[len(later)-1]
	last.Validity = 0
	want[bob]["INBOX"] = append(want[bob]["INBOX"], last)
	r := run(t, Config{From: []string{l.cfg.Spool}})
	s := r.Slots[0]
	if r.Complete || s.Snapshot == 0 || s.LostCount != 0 {
		t.Errorf("report %+v", s)
	}
	for id, boxes := range want {
		if diff := cmp.Diff(boxes, readMaildir(t, filepath.Join(s.To, addressOf(id)))); diff != "" {
			t.Errorf("%s: slot (-), Maildir (+):\n%s", addressOf(id), diff)
		}
	}

	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[strings.Index(string(b), "Subject: 4"):], "XXXX")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if s := run(t, Config{From: []string{l.cfg.Spool}}).Slots[0]; s.LostCount != 2 || s.Lost[0].UID != 5 || s.Lost[1].UID != 5 || s.Lost[0].Mailbox != "INBOX" {
		t.Errorf("lost %+v", s.Lost)
	}
}

// TestABodyIsTakenFromWhereItIsWhole: the journal's and the pack's are the same octets.
func TestABodyIsTakenFromWhereItIsWhole(t *testing.T) {
	l, dir, want := filled(t)
	l.stop()
	l.save()
	path := l.packed()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[strings.Index(string(b), "Subject: 3"):], "XXXX")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	damage(t, dir, "Subject: 4") // of the journal
	r := run(t, Config{From: []string{dir}})
	if s := r.Slots[0]; !r.Complete || s.DamageCount == 0 || s.LostCount != 0 {
		t.Errorf("report %+v", s)
	}
	for id, boxes := range want {
		if diff := cmp.Diff(boxes, readMaildir(t, filepath.Join(r.Slots[0].To, addressOf(id)))); diff != "" {
			t.Errorf("%s: slot (-), Maildir (+):\n%s", addressOf(id), diff)
		}
	}
}
