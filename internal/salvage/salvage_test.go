package salvage

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
)

// filled is a slot that was filled and stopped, and what it held.
func filled(t *testing.T) (l *lone, dir string, want map[mail.AccountID]map[string][]stored) {
	t.Helper()
	dir = t.TempDir()
	l = newLone(t, dir)
	if err := slot.Create(l.cfg); err != nil {
		t.Fatal(err)
	}
	l.start()
	l.fill()
	want = map[mail.AccountID]map[string][]stored{alice: l.all(alice), bob: l.all(bob)}
	return l, dir, want
}

func run(t testing.TB, cfg Config) *Report {
	t.Helper()
	if cfg.FS == nil {
		cfg.FS = vfs.Default
	}
	if cfg.To == "" {
		cfg.To = filepath.Join(t.TempDir(), "out")
	}
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Slots {
		if _, err := os.Stat(filepath.Join(s.To, ".index")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the temporary index is left: %v", err)
		}
	}
	return r
}

// tree is every file below dir with its octets and its time.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			files[path] = "directory"
			return err
		}
		b, err := os.ReadFile(path)
		info, errInfo := d.Info()
		if err == nil && errInfo == nil {
			files[path] = info.ModTime().String() + string(b)
		}
		return errors.Join(err, errInfo)
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestMailboxesAreWrittenAsTheSlotHadThem(t *testing.T) {
	l, dir, want := filled(t)
	l.append(alice, l.box(alice, "Archive").ID, "Subject: large\r\n\r\n"+strings.Repeat("of several chunks\r\n", 150_000))
	want[alice] = l.all(alice)
	l.stop()
	before := tree(t, dir)
	for name, from := range map[string][]string{"machine": {dir}, "slot": {l.cfg.Meta, l.cfg.Spool}, "meta alone": {l.cfg.Meta}} {
		r := run(t, Config{From: from})
		if !r.Complete || len(r.Slots) == 0 {
			t.Fatalf("%s: %+v", name, r.Slots[0])
		}
		for id, boxes := range want {
			to := filepath.Join(r.Slots[0].To, addressOf(id))
			if diff := cmp.Diff(boxes, readMaildir(t, to)); diff != "" {
				t.Errorf("%s: %s: slot (-), Maildir (+):\n%s", name, to, diff)
			}
		}
	}
	if !maps.Equal(tree(t, dir), before) {
		t.Error("something was changed in what is salvaged")
	}
}

func TestOneUserAlone(t *testing.T) {
	l, dir, want := filled(t)
	l.stop()
	for _, user := range []string{"Bob@example.org", bob.String()} {
		r := run(t, Config{From: []string{dir}, User: user})
		accounts := r.Slots[0].Accounts
		if len(accounts) != 1 || accounts[0].Account != bob.String() || accounts[0].Messages != len(want[bob]["INBOX"]) {
			t.Errorf("%s: %+v", user, accounts)
		}
	}
}

func TestMboxHasEveryMessage(t *testing.T) {
	l, dir, want := filled(t)
	l.stop()
	r := run(t, Config{From: []string{dir}, Format: Mbox})
	b, err := os.ReadFile(filepath.Join(r.Slots[0].To, "alice@example.org", "INBOX.mbox"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	parts := strings.Split("\n"+text, "\nFrom MAILER-DAEMON ")
	if parts = parts[1:]; len(parts) != len(want[alice]["INBOX"]) {
		t.Fatalf("%d messages in\n%s", len(parts), text)
	}
	for i, p := range parts {
		_, rest, _ := strings.Cut(p, "\n")
		m := want[alice]["INBOX"][i]
		head, octets, ok := strings.Cut(rest, "Return-Path:")
		octets = strings.ReplaceAll("\n"+octets, "\n>From", "\nFrom")
		octets = strings.ReplaceAll(octets, "\n>>From", "\n>From")[1:]
		if i+1 == len(parts) {
			octets = strings.TrimSuffix(octets, "\n") // the empty line; of the others the next From took it
		}
		if octets = "Return-Path:" + octets; !ok || octets != m.Octets {
			t.Errorf("message %d is\n%q, stored was\n%q", i, octets, m.Octets)
		}
		if (m.Flags&mail.Flagged != 0) != strings.Contains(head, "X-Status: F\r\n") || strings.Contains(head, "RO") != (m.Flags&mail.Seen != 0) {
			t.Errorf("message %d: flags %v, lines %q", i, m.Flags, head)
		}
	}
}

// damage changes octets of the file that holds some text, and returns its path.
func damage(t testing.TB, dir, text string) string {
	t.Helper()
	for path, octets := range tree(t, dir) {
		if !strings.HasSuffix(path, ".seg") || !strings.Contains(octets, text) {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		i := strings.Index(string(b), text)
		copy(b[i:], "XXXX")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Fatalf("%q is nowhere", text)
	return ""
}

// TestBehindAHoleEveryMessageIsWrittenAsItCameIn: nothing but the damaged one is lost,
// not even what was expunged later, since operations cannot be trusted.
func TestBehindAHoleEveryMessageIsWrittenAsItCameIn(t *testing.T) {
	l, dir, want := filled(t)
	l.stop()
	damage(t, dir, "Subject: 4")
	r := run(t, Config{From: []string{dir}})
	s := r.Slots[0]
	if r.Complete || s.DamageCount == 0 || s.LSN == 0 {
		t.Errorf("report %+v", s)
	}
	got := map[string]bool{}
	for _, list := range readMaildir(t, filepath.Join(s.To, "alice@example.org")) {
		for _, m := range list {
			got[m.Octets] = true
		}
	}
	for _, list := range want[alice] {
		for _, m := range list {
			if gone := strings.Contains(m.Octets, "Subject: 4"); got[m.Octets] == gone {
				t.Errorf("written: %v: %q", got[m.Octets], m.Octets)
			}
		}
	}
}

func TestDamagedBodyBelowASnapshotCostsThatMessageAlone(t *testing.T) {
	l, dir, want := filled(t)
	l.stop()
	l.save()
	l.start()
	l.deliver(100, "Subject: after the snapshot\r\n\r\n", bob)
	want[bob] = l.all(bob)
	l.stop()
	damage(t, dir, "Subject: 4")
	r := run(t, Config{From: []string{dir}})
	s := r.Slots[0]
	if r.Complete || s.Snapshot == 0 || s.LostCount != 2 || s.Lost[0].Mailbox != "INBOX" || s.Lost[0].UID != 5 || s.Lost[1].Address != "bob@example.org" {
		t.Fatalf("report %+v", s)
	}
	for id, boxes := range want {
		boxes["INBOX"] = slices.DeleteFunc(boxes["INBOX"], func(m stored) bool { return strings.Contains(m.Octets, "Subject: 4") })
		if diff := cmp.Diff(boxes, readMaildir(t, filepath.Join(s.To, addressOf(id)))); diff != "" {
			t.Errorf("%s: slot (-), Maildir (+):\n%s", addressOf(id), diff)
		}
	}
}

func TestADamagedSnapshotGivesWayToTheJournal(t *testing.T) {
	l, dir, want := filled(t)
	l.stop()
	l.save()
	files, err := filepath.Glob(filepath.Join(l.cfg.Spool, "snapshots", "*.snap"))
	if err != nil || len(files) != 1 {
		t.Fatalf("snapshots %v, %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, Config{From: []string{dir}})
	if s := r.Slots[0]; !r.Complete || s.Snapshot != 0 || s.DamageCount != 1 {
		t.Errorf("report %+v", s)
	}
	if diff := cmp.Diff(want[alice], readMaildir(t, filepath.Join(r.Slots[0].To, addressOf(alice)))); diff != "" {
		t.Errorf("slot (-), Maildir (+):\n%s", diff)
	}
}

func TestItRefusesToWriteIntoWhatItReads(t *testing.T) {
	l, dir, _ := filled(t)
	l.stop()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{dir, filepath.Join(dir, "out"), filepath.Join(link, "out"), filepath.Join(l.cfg.Meta, "x")} {
		if _, err := Run(t.Context(), Config{FS: vfs.Default, From: []string{dir}, To: to}); err == nil {
			t.Errorf("wrote to %s", to)
		}
	}
	if _, err := Run(t.Context(), Config{FS: vfs.Default, From: []string{t.TempDir()}, To: filepath.Join(t.TempDir(), "x")}); !errors.Is(err, ErrNothing) {
		t.Errorf("an empty directory: %v", err)
	}
}
