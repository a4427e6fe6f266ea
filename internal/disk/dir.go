package disk

import (
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// MakeDir makes a directory with what is missing above it, durably: a name is kept by
// its own directory's sync only. One that is there is left, and its name synced.
func (d *Disk) MakeDir(fs vfs.FS, dir string) error {
	missing := []string{dir}
	for up := fs.PathDir(dir); up != fs.PathDir(up); up = fs.PathDir(up) {
		_, err := fs.Stat(up)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("make directory: %w", err)
		}
		missing = append(missing, up)
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	for i := len(missing) - 1; i >= 0; i-- {
		if err := d.SyncDir(fs, fs.PathDir(missing[i])); err != nil {
			return err
		}
	}
	return nil
}
