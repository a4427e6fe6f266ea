package pack

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Open returns the set of the packs in cfg.Dir, which it makes if it is not there.
// It removes unfinished files, and of each pack it reads the header and the footer,
// or everything if these are damaged. Damage is in the summaries, Packs, and no
// error. A pack of a newer release gives cluster.ErrNewer.
func Open(cfg Config) (*Set, error) {
	cfg, err := withDefaults(cfg)
	if err != nil {
		return nil, err
	}
	s := &Set{cfg: cfg, packs: map[ID]*pinned{}}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("open packs %s: %w", cfg.Dir, err)
	}
	return s, nil
}

func (s *Set) load() error {
	fs := s.cfg.FS
	if err := fs.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return err
	}
	if err := s.cfg.Disk.SyncDir(fs, fs.PathDir(s.cfg.Dir)); err != nil {
		return err
	}
	names, err := fs.List(s.cfg.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, temporarySuffix) {
			if err := fs.Remove(s.path(name)); err != nil {
				return fmt.Errorf("remove %s: %w", name, err)
			}
		}
	}
	return s.list(names)
}

// list takes the packs among the names into the set.
func (s *Set) list(names []string) error {
	for _, name := range names {
		if id, ok := ParseName(name); ok {
			p, err := s.summary(id)
			if err != nil {
				return fmt.Errorf("pack %v: %w", id, err)
			}
			s.packs[id] = &pinned{Pack: p}
		}
	}
	return nil
}

// List returns the summaries of the packs in a directory, by id, none if there is no
// such directory. It changes nothing, and whoever has the packs open may go on
// beside it; a pack that is retired meanwhile may give os.ErrNotExist.
func List(fs vfs.FS, dir string) ([]Pack, error) {
	cfg, err := withDefaults(Config{FS: fs, Dir: dir})
	if err != nil {
		return nil, err
	}
	names, err := fs.List(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list packs %s: %w", dir, err)
	}
	s := &Set{cfg: cfg, packs: map[ID]*pinned{}}
	if err := s.list(names); err != nil {
		return nil, fmt.Errorf("list packs %s: %w", dir, err)
	}
	return s.Packs(), nil
}

// summary reads the ends of a pack's file.
func (s *Set) summary(id ID) (Pack, error) {
	f, err := s.cfg.FS.Open(s.path(id.fileName()))
	if err != nil {
		return Pack{}, err
	}
	defer f.Close()
	src, why, err := openSource(f, id, s.cfg.Decoder)
	if err != nil {
		return Pack{}, err
	}
	p := Pack{ID: id, Size: src.size, Stored: max(0, src.end-fileHeaderLen), Entries: src.foot.entries, Plain: src.foot.plain}
	if why == nil {
		return p, nil
	}
	p.Damage = &Damage{Pack: id, Why: why}
	if src.whole() {
		return p, nil
	}
	p.Entries, p.Plain = 0, 0
	for r, err := range src.scanRecords() {
		if errors.Is(err, cluster.ErrNewer) {
			return Pack{}, err
		} else if err == nil {
			p.Entries++
			p.Plain += r.plain
		}
	}
	return p, nil
}
