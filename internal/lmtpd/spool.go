package lmtpd

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var errSpoolFull = errors.New("spool directory is at its limit")

// spoolPrefix begins the name of every file the spool owns.
const spoolPrefix = "incoming-"

// spool is a directory for messages too large for memory while they come in.
// Nothing in it outlives the delivery, nor the process: it is emptied at start.
type spool struct {
	fs    vfs.FS
	dir   string
	limit int64
	used  atomic.Int64 // octets reserved
	names atomic.Uint64
}

func openSpool(fs vfs.FS, dir string, limit int64) (*spool, error) {
	s := &spool{fs: fs, dir: dir, limit: limit}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create spool directory: %w", err)
	}
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list spool directory %s: %w", dir, err)
	}
	for _, name := range names {
		if !strings.HasPrefix(name, spoolPrefix) {
			continue
		}
		if err := fs.Remove(fs.PathJoin(dir, name)); err != nil {
			return nil, fmt.Errorf("remove left-over of the spool: %w", err)
		}
	}
	return s, nil
}

// spoolFile is one message's file.
type spoolFile struct {
	sp   *spool
	path string
	f    vfs.File
	size int64
}

func (s *spool) create() (*spoolFile, error) {
	path := s.fs.PathJoin(s.dir, fmt.Sprintf("%s%d", spoolPrefix, s.names.Add(1)))
	f, err := s.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("create spool file: %w", err)
	}
	return &spoolFile{sp: s, path: path, f: f}, nil
}

func (f *spoolFile) write(p []byte) error {
	n := int64(len(p))
	f.size += n
	if f.sp.used.Add(n) > f.sp.limit {
		return errSpoolFull
	}
	if _, err := f.f.Write(p); err != nil {
		return fmt.Errorf("write spool file: %w", err)
	}
	return nil
}

// remove closes and removes the file and gives its space back.
func (f *spoolFile) remove() error {
	f.sp.used.Add(-f.size)
	return errors.Join(f.f.Close(), f.sp.fs.Remove(f.path))
}
