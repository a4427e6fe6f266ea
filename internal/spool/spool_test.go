package spool

import (
	"bytes"
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

// TestSmallFilesAreInMemory writes files of many sizes in pieces, announced and not, and
// looks where they are.
func TestSmallFilesAreInMemory(t *testing.T) {
	fs := vfs.NewMem()
	d := open(t, fs, 0)
	onDisk := func() int {
		names, err := fs.List("spool")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	for _, announced := range []int64{0, 10, maxSmall, maxSmall + 1} {
		for _, size := range []int{0, 1, 1000, maxSmall - 1, maxSmall, maxSmall + 1, 3 * maxSmall} {
			f, err := d.Create(announced)
			if err != nil {
				t.Fatal(err)
			}
			want := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
			for rest := want; len(rest) > 0; {
				n := min(len(rest), 999)
				if _, err := f.Write(bytes.Clone(rest[:n])); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if small := announced <= maxSmall && size <= maxSmall; small != (onDisk() == 0) {
				t.Errorf("announced %d, %d octets: %d files on disk", announced, size, onDisk())
			}
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) { // also when the file was closed
				t.Errorf("announced %d, %d octets: read %d, %v", announced, size, len(got), err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if d.Used() != 0 || d.small.Load() != 0 || onDisk() != 0 {
				t.Errorf("left: %d octets, %d in memory, %d files", d.Used(), d.small.Load(), onDisk())
			}
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	fs := vfs.NewMem()
	d := open(t, fs, 0)
	var files []*File
	for range 2 * maxMemory / maxSmall {
		f, err := d.Create(1)
		if err == nil {
			_, err = f.Write(make([]byte, maxSmall))
		}
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	names, err := fs.List("spool")
	if err != nil || d.small.Load() > maxMemory || len(names) < maxMemory/maxSmall {
		t.Errorf("%d octets in memory, %d files on disk, %v", d.small.Load(), len(names), err)
	}
	for _, f := range files {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if d.small.Load() != 0 || d.Used() != 0 {
		t.Errorf("left: %d octets in memory, %d", d.small.Load(), d.Used())
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
	if _, err := open(t, fs, 0).Create(maxSmall + 1); err != nil {
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
