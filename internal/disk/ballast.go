package disk

import (
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Ballast is a file that only takes room, on a device that somebody else may fill to
// the last octet. It is thrown off when work is stuck that would give room back:
// collecting packs, flushing an index, journalling an expunge. It is taken on again
// when the device is below its watermarks.
type Ballast struct {
	FS   vfs.FS
	Path string
	// Size in octets. Default 256 MiB: what one rewrite of packs needs. On a small device
	// it is a hundredth of that.
	Size int64
}

const (
	ballastSize  = 256 << 20
	ballastShare = 100
)

// size is how much it is on a device of that size.
func (b *Ballast) size(total uint64) int64 {
	size := b.Size
	if size <= 0 {
		size = ballastSize
	}
	return min(size, int64(min(total, 1<<62)/ballastShare))
}

// take makes the file unless it is there.
func (b *Ballast) take(total uint64) error {
	if _, err := b.FS.Stat(b.Path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := b.FS.Create(b.Path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("create ballast: %w", err)
	}
	if err = errors.Join(f.Preallocate(0, b.size(total)), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("reserve ballast: %w", err), b.FS.Remove(b.Path))
	}
	return nil
}

// Relieve throws the ballast off, for work that gives room back and has none. It
// reports whether there was any: if so, the work may be tried again. It waits for the
// device.
func (d *Disk) Relieve() (bool, error) {
	b := d.cfg.Ballast
	if b == nil {
		return false, nil
	}
	err := b.FS.Remove(b.Path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("throw off ballast: %w", err)
	}
	return true, d.Refresh()
}

// keepBallast takes the ballast on if there is room. A file system that cannot
// reserve is left without.
func (d *Disk) keepBallast() {
	if s := d.Space(); d.cfg.Ballast != nil && s.Err == nil && s.Total > 0 && s.Level() == Plenty {
		_ = d.cfg.Ballast.take(s.Total) // the next reading tries again
	}
}
