// Package spool is a bounded directory for octets that are too many for memory
// while a command or a message comes in. Nothing in it outlives the process: it
// is emptied when it is opened, and nothing in it is ever synced.
//
// A [Dir] may be used from many goroutines; a [File] is written by one, then
// opened by any.
package spool

import (
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
	used  atomic.Int64 // octets in files
	names atomic.Uint64
}

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
	path := d.fs.PathJoin(d.path, fmt.Sprintf("%s%d", prefix, d.names.Add(1)))
	f, err := d.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("create spool file: %w", err)
	}
	return &File{dir: d, path: path, f: f}, nil
}

// File is one run of octets.
type File struct {
	dir  *Dir
	path string
	f    vfs.File
	size int64
}

// Write adds p. ErrFull.
func (f *File) Write(p []byte) (int, error) {
	n := int64(len(p))
	f.size += n
	if f.dir.used.Add(n) > f.dir.limit {
		return 0, fmt.Errorf("write spool file: %w", ErrFull)
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
	r, err := f.dir.fs.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("open spool file: %w", err)
	}
	return r, nil
}

// Close removes the file and gives its space back. Once.
func (f *File) Close() error {
	f.dir.used.Add(-f.size)
	return errors.Join(f.f.Close(), f.dir.fs.Remove(f.path))
}
