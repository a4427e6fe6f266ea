// Package spool is a bounded place for the octets of commands and messages while they
// come in: a directory for what is too much for memory, and a bounded amount of
// memory for what is small, since making a file takes longer than all else that is
// done with a small message. Nothing outlives the process: the directory is
// emptied when it is opened, and nothing in it is ever synced.
//
// A [Dir] may be used from many goroutines; a [File] is written by one, then
// opened by any.
package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrFull: the directory has reached its limit. It is a temporary condition.
var ErrFull = errors.New("spool directory is at its limit")

// Dir is an open spool directory.
type Dir struct {
	fs    vfs.FS
	path  string
	limit int64
	used  atomic.Int64 // octets in files, those in memory included
	small atomic.Int64 // octets in memory
	names atomic.Uint64
}

// What is kept in memory.
const (
	maxSmall  = 64 << 10 // octets of one file
	maxMemory = 16 << 20 // octets of all
)

const (
	prefix       = "spool-"
	defaultLimit = 4 << 30
)

// Open makes the directory if it is not there and removes what an earlier process
// left. A limit of 0 octets means 4 GiB. No two processes may share a directory.
func Open(fs vfs.FS, path string, limit int64) (*Dir, error) {
	if limit == 0 {
		limit = defaultLimit
	}
	d := &Dir{fs: fs, path: path, limit: limit}
	if err := fs.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("create spool directory: %w", err)
	}
	names, err := fs.List(path)
	if err != nil {
		return nil, fmt.Errorf("list spool directory %s: %w", path, err)
	}
	for _, name := range names {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		if err := fs.Remove(fs.PathJoin(path, name)); err != nil {
			return nil, fmt.Errorf("remove left-over of the spool: %w", err)
		}
	}
	return d, nil
}

// Used is how many octets the files have.
func (d *Dir) Used() int64 { return d.used.Load() }

// Create makes an empty file for about size octets. The caller closes it. ErrFull.
func (d *Dir) Create(size int64) (*File, error) {
	if d.used.Load()+size > d.limit {
		return nil, fmt.Errorf("create spool file for %d octets: %w", size, ErrFull)
	}
	f := &File{dir: d}
	if size <= maxSmall && f.reserve(size) {
		return f, nil
	}
	if err := f.spill(); err != nil {
		return nil, err
	}
	return f, nil
}

// File is one run of octets: in memory as long as there are few.
type File struct {
	dir   *Dir
	path  string
	f     vfs.File // nil: it is in memory
	small []byte
	size  int64
}

// reserve makes room for n octets in memory, unless there is too little.
func (f *File) reserve(n int64) bool {
	more := n - int64(cap(f.small))
	if more <= 0 {
		return true
	}
	if n > maxSmall {
		return false
	}
	if f.dir.small.Add(more) > maxMemory {
		f.dir.small.Add(-more)
		return false
	}
	grown := make([]byte, len(f.small), n)
	copy(grown, f.small)
	f.small = grown
	return true
}

// spill makes it a file on disk.
func (f *File) spill() error {
	d := f.dir
	path := d.fs.PathJoin(d.path, fmt.Sprintf("%s%d", prefix, d.names.Add(1)))
	file, err := d.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("create spool file: %w", err)
	}
	f.path, f.f = path, file
	if len(f.small) > 0 {
		_, err = file.Write(f.small)
	}
	f.forget()
	if err != nil {
		return fmt.Errorf("write spool file: %w", err)
	}
	return nil
}

// forget gives the memory back.
func (f *File) forget() {
	f.dir.small.Add(-int64(cap(f.small)))
	f.small = nil
}

// Write adds p. ErrFull.
func (f *File) Write(p []byte) (int, error) {
	n := int64(len(p))
	f.size += n
	if f.dir.used.Add(n) > f.dir.limit {
		return 0, fmt.Errorf("write spool file: %w", ErrFull)
	}
	if f.f == nil {
		if want := int64(len(f.small)) + n; want <= int64(cap(f.small)) || f.reserve(min(max(want, 2*int64(cap(f.small))), max(want, maxSmall))) {
			f.small = append(f.small, p...)
			return len(p), nil
		}
		if err := f.spill(); err != nil {
			return 0, err
		}
	}
	if _, err := f.f.Write(p); err != nil {
		return 0, fmt.Errorf("write spool file: %w", err)
	}
	return len(p), nil
}

// Size is the number of octets written.
func (f *File) Size() int64 { return f.size }

// Reader reads a file from its beginning, or at any place.
type Reader = interface {
	io.ReadCloser
	io.ReaderAt
}

// Open reads the file from its beginning, or at any place. Nothing may be written
// any more.
func (f *File) Open() (Reader, error) {
	if f.f == nil {
		return memory{bytes.NewReader(f.small)}, nil
	}
	r, err := f.dir.fs.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("open spool file: %w", err)
	}
	return r, nil
}

// memory reads what is in memory.
type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// Close removes the file and gives its space back. Once. Readers that are open go on.
func (f *File) Close() error {
	f.dir.used.Add(-f.size)
	if f.f == nil {
		f.forget() // whoever still reads it keeps it
		return nil
	}
	return errors.Join(f.f.Close(), f.dir.fs.Remove(f.path))
}
