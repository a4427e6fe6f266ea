package journal

import (
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// lossyFS is a file system whose failed syncs call dirty pages clean, as kernels
// do: they stay readable, and a later sync does not write them.
type lossyFS struct {
	vfs.FS
	lose  bool
	dirty atomic.Bool // a segment was written since its last sync
}

type lossyFile struct {
	vfs.File
	fs *lossyFS
}

func (l *lossyFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := l.FS.OpenReadWrite(name, c, o...)
	if err != nil || strings.HasSuffix(name, markName) {
		return f, err
	}
	return &lossyFile{File: f, fs: l}, nil
}

func (f *lossyFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.dirty.Store(true)
	return f.File.WriteAt(p, off)
}

func (f *lossyFile) SyncData() error {
	dirty := f.fs.dirty.Swap(false)
	switch {
	case f.fs.lose:
		return syscall.EIO
	case !dirty:
		return nil // all is clean, says the kernel
	}
	return f.File.SyncData()
}
