package spool

import (
	"errors"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func open(t *testing.T, fs vfs.FS, limit int64) *Dir {
	t.Helper()
	d, err := Open(fs, "spool", limit)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestFileGivesBackWhatWasWrittenMoreThanOnce(t *testing.T) {
	d := open(t, vfs.NewMem(), 0)
	f, err := d.Create(6)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"abc", "def"} {
		if _, err := io.WriteString(f, s); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil || string(b) != "abcdef" {
			t.Fatalf("read %q, %v", b, err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if d.Used() != 6 || f.Size() != 6 {
		t.Errorf("%d octets used, size %d", d.Used(), f.Size())
	}
	if err := f.Close(); err != nil || d.Used() != 0 {
		t.Errorf("after Close %d octets are used, %v", d.Used(), err)
	}
}

func TestSpoolRefusesMoreThanItsLimit(t *testing.T) {
	d := open(t, vfs.NewMem(), 10)
	if _, err := d.Create(11); !errors.Is(err, ErrFull) {
		t.Errorf("announced too many: %v", err)
	}
	f, err := d.Create(3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 11)); !errors.Is(err, ErrFull) {
		t.Errorf("wrote too many: %v", err)
	}
	if err := f.Close(); err != nil || d.Used() != 0 {
		t.Errorf("after Close %d octets are used, %v", d.Used(), err)
	}
}

func TestOpenRemovesWhatAnEarlierProcessLeft(t *testing.T) {
	fs := vfs.NewMem()
	if _, err := open(t, fs, 0).Create(1); err != nil {
		t.Fatal(err)
	}
	foreign, err := fs.Create("spool/mine.txt", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if err := foreign.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, fs, 0)
	if names, err := fs.List("spool"); err != nil || len(names) != 1 || names[0] != "mine.txt" {
		t.Errorf("left: %q, %v", names, err)
	}
}
