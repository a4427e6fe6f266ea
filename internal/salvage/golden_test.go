package salvage

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
)

// Golden slots are whole directories as a release wrote them: meta and spool, what the
// coordinator knew (record.json), and the mail in them (mail.json). A release that changes
// a format adds one, by
//
//	go test ./internal/salvage -run TestGoldenSlots -golden.write=NAME
//
// and never touches those that are there: what is in the field is read for ever.
var goldenWrite = flag.String("golden.write", "", "make a golden slot of that name")

const goldenDir = "testdata/slots"

func writeGolden(t *testing.T, dir string) {
	l := newLone(t, dir)
	if err := slot.Create(l.cfg); err != nil {
		t.Fatal(err)
	}
	l.start()
	l.fill()
	l.stop()
	l.save()
	l.packed()
	l.start()
	l.deliver(100, "Subject: after the snapshot\r\n\r\n", alice, bob)
	want := map[string]map[string][]stored{alice.String(): l.all(alice), bob.String(): l.all(bob)}
	l.stop()
	l.keep(filepath.Join(dir, "record.json"))
	b, err := json.MarshalIndent(want, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "mail.json"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestGoldenSlotsAreReadForEver(t *testing.T) {
	if *goldenWrite != "" {
		writeGolden(t, filepath.Join(goldenDir, *goldenWrite))
	}
	entries, err := os.ReadDir(goldenDir)
	if err != nil || len(entries) == 0 {
		t.Fatalf("no golden slots: %v", err)
	}
	for _, e := range entries {
		t.Run(e.Name(), func(t *testing.T) {
			dir := filepath.Join(goldenDir, e.Name())
			b, err := os.ReadFile(filepath.Join(dir, "mail.json"))
			var want map[mail.AccountID]map[string][]stored
			if err == nil {
				err = json.Unmarshal(b, &want)
			}
			if err != nil {
				t.Fatal(err)
			}
			bySalvage(t, dir, want)
			for _, lost := range []string{"", "meta/index"} {
				bySlot(t, dir, lost, want)
			}
		})
	}
}

func bySalvage(t *testing.T, dir string, want map[mail.AccountID]map[string][]stored) {
	r := run(t, Config{From: []string{dir}})
	if s := r.Slots[0]; !r.Complete || s.DamageCount > 0 || s.Snapshot == 0 {
		t.Errorf("report %+v", s)
	}
	for id, boxes := range want {
		if diff := cmp.Diff(boxes, readMaildir(t, filepath.Join(r.Slots[0].To, addressOf(id)))); diff != "" {
			t.Errorf("%s: slot (-), Maildir (+):\n%s", addressOf(id), diff)
		}
	}
	// With the big disk alone, all but what came after the snapshot.
	r = run(t, Config{From: []string{filepath.Join(dir, "spool")}})
	for id, boxes := range want {
		got := readMaildir(t, filepath.Join(r.Slots[0].To, addressOf(id)))
		n := len(boxes["INBOX"]) - 1
		if diff := cmp.Diff(boxes["INBOX"][:n], got["INBOX"]); diff != "" {
			t.Errorf("%s, spool alone: slot (-), Maildir (+):\n%s", addressOf(id), diff)
		}
	}
}

// bySlot opens a copy, without the part that is lost, and reads it.
func bySlot(t *testing.T, dir, lost string, want map[mail.AccountID]map[string][]stored) {
	at := t.TempDir()
	if err := os.CopyFS(at, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if lost != "" {
		if err := os.RemoveAll(filepath.Join(at, lost)); err != nil {
			t.Fatal(err)
		}
	}
	l := newLone(t, at)
	l.recall(filepath.Join(at, "record.json"))
	l.start()
	for id, boxes := range want {
		if diff := cmp.Diff(boxes, l.all(id)); diff != "" {
			t.Errorf("without %q: %s: then (-), now (+):\n%s", lost, addressOf(id), diff)
		}
	}
	l.stop()
}
