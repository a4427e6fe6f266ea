package dev

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func gather(t *testing.T, path string) []string {
	t.Helper()
	var got []string
	for m, err := range messages(path) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(m.octets))
	}
	return got
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMboxIsSplitAtFromLines(t *testing.T) {
	mbox := "From a@b Mon\nSubject: 1\n\nbody\nFrom here on it is text\n\nFrom a@b Tue\nSubject: 2\n\n\nFrom a@b Wed\nSubject: 2\n\n"
	got := gather(t, write(t, filepath.Join(t.TempDir(), "mbox"), mbox))
	want := []string{"Subject: 1\n\nbody\nFrom here on it is text\n", "Subject: 2\n\n", "Subject: 2\n"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestOtherFilesAreOneMessageEach(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "cur", "1:2,S"), "A: 1\n\nx\nFrom y\n")
	write(t, filepath.Join(dir, "new", "2"), "A: 2\n\n"+strings.Repeat("x", 200<<10))
	write(t, filepath.Join(dir, "tmp", "3"), "half")
	got := gather(t, dir)
	if len(got) != 2 || got[0] != "A: 1\n\nx\nFrom y\n" || len(got[1]) != 6+200<<10 {
		t.Errorf("%d messages, first %q", len(got), got[:min(1, len(got))])
	}
}

func TestOnlyMessagesOfAMaildirAreTaken(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"", ".Sent"} {
		for _, d := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(dir, sub, d), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(t, filepath.Join(dir, "cur", "1"), "A: 1\n")
	write(t, filepath.Join(dir, ".Sent", "new", "2"), "A: 2\n")
	write(t, filepath.Join(dir, "cur", "3"), "")
	for _, no := range []string{"tmp/4", "dovecot-uidlist", "maildirfolder", ".Sent/tmp/5", "courierimapkeywords/6", ".hidden", ".git/7"} {
		write(t, filepath.Join(dir, no), "A: no\n")
	}
	if got, want := gather(t, dir), []string{"A: 2\n", "A: 1\n"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPlainDirectoryLeavesHiddenFilesOut(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.eml"), "A: 1\n")
	write(t, filepath.Join(dir, "sub", "b"), "A: 2\n")
	write(t, filepath.Join(dir, ".DS_Store"), "no")
	write(t, filepath.Join(dir, ".git", "c"), "no")
	if got, want := gather(t, dir), []string{"A: 1\n", "A: 2\n"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := gather(t, write(t, filepath.Join(dir, ".named"), "A: 3\n")); len(got) != 1 {
		t.Errorf("a hidden file that was named: %q", got)
	}
}

func TestMissingPathIsAnError(t *testing.T) {
	for _, err := range messages(filepath.Join(t.TempDir(), "none")) {
		if err == nil {
			t.Error("a missing path gave a message")
		}
		return
	}
	t.Error("a missing path gave nothing")
}
