package disk

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
)

const (
	// WriteSize is what an Output is written in.
	WriteSize = 1 << 20
	// SyncStep is how much of an Output is written between two syncs: other syncs on
	// the device wait no longer than for that.
	SyncStep = 4 << 20
)

// Output is a new file that is written front to back under a temporary name and
// named when all of it is durable. Use Disk.Create; end it with Finish and Name, or
// with Remove. One goroutine. Errors are final; without room they wrap
// cluster.ErrFull.
type Output struct {
	// Buf is what is not written yet: append to it, then call Flow.
	Buf []byte
	// Step, if set, is called after each SyncStep that is durable: the place to wait,
	// for whoever has time.
	Step func() error

	fs       vfs.FS
	disk     *Disk
	path     string
	file     vfs.File // nil once closed
	sync     *File
	written  int64
	unsynced int64
}

// Create makes the file at path, or empties it.
func (d *Disk) Create(fs vfs.FS, path string, c vfs.DiskWriteCategory) (*Output, error) {
	f, err := fs.Create(path, c)
	if err != nil {
		return nil, full(fmt.Errorf("create %s: %w", path, err))
	}
	return &Output{fs: fs, disk: d, path: path, file: f, sync: d.File(f, path)}, nil
}

// End is where the next octet goes.
func (o *Output) End() int64 { return o.written + int64(len(o.Buf)) }

// Written is how much has left Buf.
func (o *Output) Written() int64 { return o.written }

// Flow writes what is in Buf once it is enough. It may wait for the device.
func (o *Output) Flow() error {
	if len(o.Buf) < WriteSize {
		return nil
	}
	return o.flush()
}

func (o *Output) flush() error {
	n, err := o.file.Write(o.Buf)
	o.written += int64(n)
	o.unsynced += int64(n)
	if err != nil {
		return full(fmt.Errorf("write %s at %d: %w", o.path, o.written, err))
	}
	o.Buf = o.Buf[:0]
	if o.unsynced < SyncStep {
		return nil
	}
	if err := o.makeDurable(); err != nil || o.Step == nil {
		return err
	}
	return o.Step()
}

func (o *Output) makeDurable() error {
	o.unsynced = 0
	return full(o.sync.Sync())
}

// Finish makes everything durable and closes the file.
func (o *Output) Finish() error {
	err := o.flush()
	if err == nil && o.unsynced > 0 {
		err = o.makeDurable()
	}
	o.Buf = nil
	if errClose := o.file.Close(); err == nil {
		err = errClose
	}
	o.file = nil
	return err
}

// Name gives the finished file its name, durably. After an error it may have either.
func (o *Output) Name(path string) error {
	if err := o.fs.Rename(o.path, path); err != nil {
		return full(fmt.Errorf("rename %s: %w", o.path, err))
	}
	o.path = path
	return full(o.disk.SyncDir(o.fs, o.fs.PathDir(path)))
}

// Finished reports that the file is closed.
func (o *Output) Finished() bool { return o.file == nil }

// Remove closes the file if it is open and removes it.
func (o *Output) Remove() error {
	var err error
	if o.file != nil {
		err = o.file.Close()
		o.file, o.Buf = nil, nil
	}
	return errors.Join(err, o.fs.Remove(o.path))
}

// full adds cluster.ErrFull to an error that says that there is no room.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", cluster.ErrFull, err)
	}
	return err
}

// SyncDir makes the names in a directory durable.
func (d *Disk) SyncDir(fs vfs.FS, dir string) error {
	f, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", dir, err)
	}
	err = d.File(f, dir).Sync()
	return errors.Join(err, f.Close())
}
