package index

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
)

// fence is the file system of one DB until that is closed. Then it changes nothing
// any more, whatever goroutines of a DB that failed are still at, and its lock on the
// directory is free: the directory can be renamed, or opened again.
type fence struct {
	vfs.FS
	// hold keeps who has nothing to change any more from trying again.
	hold func() error

	mu    sync.RWMutex // held for reading while a name changes
	down  bool
	locks []io.Closer
}

// shut ends all changes and gives the locks up. Those of a DB that closed in order are
// given up already; giving them up twice would take another's.
func (f *fence) shut() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = true
	var errs []error
	for _, l := range f.locks {
		errs = append(errs, l.Close())
	}
	f.locks = nil
	return errors.Join(errs...)
}

func (f *fence) do(change func() error) error {
	if err := f.hold(); err != nil {
		return err
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.down {
		return cluster.ErrStopped
	}
	return change()
}

func (f *fence) open(open func() (vfs.File, error)) (file vfs.File, err error) {
	err = f.do(func() (err error) {
		file, err = open()
		return err
	})
	return file, err
}

// Create implements vfs.FS.
func (f *fence) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(func() (vfs.File, error) { return f.FS.Create(name, c) })
}

// OpenReadWrite implements vfs.FS.
func (f *fence) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.open(func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, opts...) })
}

// ReuseForWrite implements vfs.FS.
func (f *fence) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(func() (vfs.File, error) { return f.FS.ReuseForWrite(from, to, c) })
}

// Link implements vfs.FS.
func (f *fence) Link(from, to string) error { return f.do(func() error { return f.FS.Link(from, to) }) }

// Rename implements vfs.FS.
func (f *fence) Rename(from, to string) error {
	return f.do(func() error { return f.FS.Rename(from, to) })
}

// Remove implements vfs.FS.
func (f *fence) Remove(name string) error { return f.do(func() error { return f.FS.Remove(name) }) }

// RemoveAll implements vfs.FS.
func (f *fence) RemoveAll(name string) error {
	return f.do(func() error { return f.FS.RemoveAll(name) })
}

// MkdirAll implements vfs.FS.
func (f *fence) MkdirAll(dir string, perm os.FileMode) error {
	return f.do(func() error { return f.FS.MkdirAll(dir, perm) })
}

// Lock implements vfs.FS.
func (f *fence) Lock(name string) (io.Closer, error) {
	var c io.Closer
	err := f.do(func() (err error) {
		c, err = f.FS.Lock(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.locks = append(f.locks, c)
	return lock{f, c}, nil
}

// lock is a lock that is given up once, by its owner or by the fence.
type lock struct {
	fence *fence
	c     io.Closer
}

// Close implements io.Closer.
func (l lock) Close() error {
	f := l.fence
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, c := range f.locks {
		if c == l.c {
			f.locks = append(f.locks[:i], f.locks[i+1:]...)
			return c.Close()
		}
	}
	return nil
}
