package pack

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/tandemail/tandemail/internal/mail"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenPlain are messages of which no frame is compressed: their pack is the same
// octets for ever.
func goldenPlain() []message {
	all := []message{
		made(1, 0x1000, []byte("From: a@example.org\r\n\r\nHi\r\n")), made(1, 0x2000, nil),
		made(2, 0x0fff, []byte("Subject: 2\r\n\r\n")), made(3, 0x3000, []byte("x")),
	}
	all[1].Owners = append(all[1].Owners, Owner{Account: mail.AccountID{7}, UID: 9, InternalDate: -1})
	all[1].Omitted = 2
	all[0].Owners[0].Flags = mail.AllFlags
	all[0].Owners[0].Keywords = nil
	all[3].Owners = nil
	return []message{all[3], all[0], all[1], all[2]}
}

// goldenZstd has compressed frames, which other releases of the compressor may write
// otherwise: its pack must only be read.
func goldenZstd() []message {
	return []message{made(1, 0x1000, prose(1, 5000)), made(1, 0x2000, prose(2, 2*FrameSize+100))}
}

// TestFormatIsTheOneOnDisks compares with octets of the first release. If it fails,
// packs in the field can no longer be read: raise the format instead.
func TestFormatIsTheOneOnDisks(t *testing.T) {
	for _, g := range []struct {
		file     string
		messages []message
		same     bool
	}{{"plain.hex", goldenPlain(), true}, {"zstd.hex", goldenZstd(), false}} {
		fs := newMem(t)
		p, _ := mustWrite(t, mustOpen(t, config(fs)), g.messages)
		now := contents(t, fs, p.ID)
		path := filepath.Join("testdata", g.file)
		if *update {
			if err := os.WriteFile(path, []byte(hex.Dump(now)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		then := unhex(t, path)
		if g.same && !bytes.Equal(now, then) {
			t.Errorf("%s differs:\n%s", g.file, cmp.Diff(hex.Dump(then), hex.Dump(now)))
		}
		// It must also read back, whatever this build writes.
		old := newMem(t)
		place(t, old, p.ID, then)
		s := mustOpen(t, config(old))
		at := stored{}
		for _, e := range entries(t, s, p.ID) {
			at[e.Body] = e.Location
		}
		if got := s.Packs(); len(got) != 1 || got[0].Damage != nil || got[0].Entries != len(g.messages) {
			t.Errorf("%s: %+v", g.file, got)
		}
		intact(t, old, s, p.ID, g.messages, at)
	}
}

// place puts a pack file where Open finds it.
func place(t testing.TB, fs vfs.FS, id ID, octets []byte) {
	t.Helper()
	if err := fs.MkdirAll(testDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := put(fs, id, octets); err != nil {
		t.Fatal(err)
	}
}

// unhex reads what hex.Dump wrote.
func unhex(t *testing.T, path string) (out []byte) {
	t.Helper()
	dump, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(dump) {
		columns, _, _ := bytes.Cut(line, []byte("|"))
		fields := bytes.Fields(columns)
		for _, f := range fields[min(1, len(fields)):] {
			b, err := hex.DecodeString(string(f))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, b...)
		}
	}
	return out
}
