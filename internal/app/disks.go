package app

import (
	"fmt"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/disk"
)

// openDisks makes the two directories and watches the devices they are on. Spool is
// nil if that is Meta's.
func (m *machine) openDisks(g *group) (meta, spool *disk.Disk, err error) {
	devices := map[string]vfs.DeviceID{}
	for _, dir := range []string{m.cfg.Meta, m.cfg.Spool} {
		if err := disk.New(disk.Config{}).MakeDir(vfs.Default, dir); err != nil {
			return nil, nil, fmt.Errorf("make directory for slots: %w", err)
		}
		info, err := vfs.Default.Stat(dir)
		if err != nil {
			return nil, nil, fmt.Errorf("look at directory for slots: %w", err)
		}
		devices[dir] = info.DeviceID()
	}
	watch := func(name, dir string) *disk.Disk {
		d := disk.New(disk.Config{
			Usage:   func() (vfs.DiskUsage, error) { return vfs.Default.GetDiskUsage(dir) },
			Ballast: &disk.Ballast{FS: vfs.Default, Path: filepath.Join(dir, "ballast")},
		})
		m.sources.Disks[name] = d
		g.run(name+" disk", d.Run)
		return d
	}
	m.sources.Disks = map[string]*disk.Disk{}
	meta = watch("meta", m.cfg.Meta)
	if devices[m.cfg.Meta] != devices[m.cfg.Spool] {
		spool = watch("spool", m.cfg.Spool)
	}
	return meta, spool, nil
}
