package salvage

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// readMaildir reads a Maildir++ as another program would, by mailbox.
func readMaildir(t testing.TB, dir string) map[string][]stored {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]stored{"INBOX": readFolder(t, dir)}
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), "."); ok {
			var parts []string
			for p := range strings.SplitSeq(rest, ".") {
				name, err := imapwire.DecodeUTF7(strings.ReplaceAll(p, "&AC4-", "\x7f"))
				if err != nil {
					name, err = imapwire.DecodeUTF7(strings.ReplaceAll(p, "&AC4-", "~"))
					name = strings.ReplaceAll(name, "~", ".")
				}
				if err != nil {
					t.Fatalf("folder %s: %v", e.Name(), err)
				}
				parts = append(parts, name)
			}
			got[strings.Join(parts, "/")] = readFolder(t, filepath.Join(dir, e.Name()))
		}
	}
	return got
}

func readFolder(t testing.TB, dir string) (list []stored) {
	t.Helper()
	letters := map[byte]string{}
	if b, err := os.ReadFile(filepath.Join(dir, "dovecot-keywords")); err == nil {
		for line := range strings.Lines(string(b)) {
			var i int
			var name string
			if _, err := fmt.Sscanf(line, "%d %s", &i, &name); err != nil {
				t.Fatal(err)
			}
			letters[byte('a'+i)] = name
		}
	}
	for _, sub := range []string{"new", "tmp"} {
		if left, err := os.ReadDir(filepath.Join(dir, sub)); err != nil || len(left) > 0 {
			t.Fatalf("%s/%s: %v, %v", dir, sub, left, err)
		}
	}
	files, err := os.ReadDir(filepath.Join(dir, "cur"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		path := filepath.Join(dir, "cur", f.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		s := stored{Date: info.ModTime().Unix(), Octets: string(b)}
		var date, number, size int64
		name, flags, _ := strings.Cut(f.Name(), ":2,")
		if _, err := fmt.Sscanf(name, "%d.N%dU%dV%d.tandemail,S=%d", &date, &number, &s.UID, &s.Validity, &size); err != nil || date != s.Date || size != int64(len(b)) {
			t.Fatalf("%s: of %d octets at %d: %v", f.Name(), len(b), s.Date, err)
		}
		var words []string
		for i, c := range []byte(flags) {
			if i > 0 && flags[i-1] >= c {
				t.Errorf("%s: letters out of order", f.Name())
			}
			if j := strings.IndexByte("SRFTD", c); j >= 0 {
				s.Flags |= mail.Flags(1) << j
			} else {
				words = append(words, letters[c])
			}
		}
		s.Keywords = strings.Join(words, " ")
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b stored) int { return cmp.Or(cmp.Compare(a.UID, b.UID), strings.Compare(a.Octets, b.Octets)) })
	return list
}

func TestFolderNamesFitFileSystemsAndDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{
		"INBOX", "INBOX/x", "Sent", "a/b", "a.b", "a&b", "é/ü.x", "..", ".", strings.Repeat("é", 120), strings.Repeat("é", 120) + "/x",
		strings.Repeat("a", 255) + "/b", strings.Repeat("a", 255) + "/c",
	} {
		f := folderName(name)
		if len(f) > 255 || strings.ContainsAny(f, "/\x00") || f == "." || f == ".." || (f == "") != (name == "INBOX") {
			t.Errorf("%.20q becomes %q", name, f)
		}
		if other, ok := seen[f]; ok {
			t.Errorf("%.20q and %.20q are both %q", name, other, f)
		}
		seen[f] = name
	}
	if got := folderName("a.b/Sent & x"); got != ".a&AC4-b.Sent &- x" {
		t.Error(got)
	}
}
