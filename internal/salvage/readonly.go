package salvage

import (
	"errors"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// errReadOnly: something tried to write into what is salvaged.
var errReadOnly = errors.New("salvage does not write here")

// readOnly is a file system that nothing can be changed in. What others do to tidy up
// when they open, it lets them believe.
type readOnly struct{ vfs.FS }

func (readOnly) Create(string, vfs.DiskWriteCategory) (vfs.File, error) { return nil, errReadOnly }
func (readOnly) Link(string, string) error                              { return errReadOnly }
func (readOnly) Rename(string, string) error                            { return errReadOnly }
func (readOnly) RemoveAll(string) error                                 { return errReadOnly }
func (readOnly) Lock(string) (io.Closer, error)                         { return nil, errReadOnly }

func (readOnly) OpenReadWrite(string, vfs.DiskWriteCategory, ...vfs.OpenOption) (vfs.File, error) {
	return nil, errReadOnly
}

func (readOnly) ReuseForWrite(string, string, vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, errReadOnly
}

// Remove pretends: it is asked for unfinished files only, which nobody reads.
func (readOnly) Remove(string) error { return nil }

// MkdirAll makes nothing.
func (r readOnly) MkdirAll(dir string, _ os.FileMode) error {
	_, err := r.Stat(dir)
	return err
}

// OpenDir gives a directory that need not be made durable.
func (r readOnly) OpenDir(dir string) (vfs.File, error) {
	f, err := r.FS.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	return unsynced{f}, nil
}

type unsynced struct{ vfs.File }

func (unsynced) Sync() error     { return nil }
func (unsynced) SyncData() error { return nil }
