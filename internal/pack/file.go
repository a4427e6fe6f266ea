package pack

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
)

const (
	writeCategory vfs.DiskWriteCategory = "pack"
	// writeSize is what a file is written in.
	writeSize = 1 << 20
	// syncStep is how much is written between two syncs: other syncs on the device
	// wait no longer than for that.
	syncStep = 4 << 20
)

// file is a file that is being written under a temporary name.
type file struct {
	fs       vfs.FS
	path     string
	f        vfs.File
	sync     *disk.File
	buf      []byte // not yet written
	written  int64
	unsynced int64
}

func createFile(fs vfs.FS, d *disk.Disk, path string) (*file, error) {
	f, err := fs.Create(path, writeCategory)
	if err != nil {
		return nil, full(fmt.Errorf("create %s: %w", path, err))
	}
	return &file{fs: fs, path: path, f: f, sync: d.File(f, path)}, nil
}

// end is where the next octet goes.
func (f *file) end() int64 { return f.written + int64(len(f.buf)) }

// flow writes what is buffered once it is enough.
func (f *file) flow() error {
	if len(f.buf) < writeSize {
		return nil
	}
	return f.flush()
}

func (f *file) flush() error {
	n, err := f.f.Write(f.buf)
	f.written += int64(n)
	f.unsynced += int64(n)
	if err != nil {
		return full(fmt.Errorf("write %s at %d: %w", f.path, f.written, err))
	}
	f.buf = f.buf[:0]
	if f.unsynced < syncStep {
		return nil
	}
	return f.makeDurable()
}

func (f *file) makeDurable() error {
	f.unsynced = 0
	return full(f.sync.Sync())
}

// finish makes everything durable and closes the file.
func (f *file) finish() error {
	err := f.flush()
	if err == nil && f.unsynced > 0 {
		err = f.makeDurable()
	}
	f.buf = nil
	if errClose := f.f.Close(); err == nil {
		err = errClose
	}
	f.f = nil
	return err
}

// remove closes the file if it is open and removes it.
func (f *file) remove() error {
	var err error
	if f.f != nil {
		err = f.f.Close()
		f.f, f.buf = nil, nil
	}
	return errors.Join(err, f.fs.Remove(f.path))
}

// full adds cluster.ErrFull to an error that says that there is no room.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", cluster.ErrFull, err)
	}
	return err
}

func syncDir(fs vfs.FS, d *disk.Disk, dir string) error {
	f, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", dir, err)
	}
	err = d.File(f, dir).Sync()
	return errors.Join(err, f.Close())
}
