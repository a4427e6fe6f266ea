package tail

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
)

// Source is where a tail may be: a slot that is closed for good, or a part of a
// slot's journal that was cut.
type Source struct {
	Store cluster.Store
	Slot  cluster.SlotID
	Meta  string // the slot's directories
	Spool string
	Cut   *journal.Cut // nil: the journal of a slot that nobody opens
	Aside string       // not "": the journal was set aside there when the slot was seeded
}

// Name tells it apart from others of its slot.
func (s *Source) Name() string {
	switch {
	case s.Aside != "":
		return "aside-" + s.Aside
	case s.Cut == nil:
		return "journal"
	}
	return strings.TrimSuffix(s.Cut.Name, ".cut")
}

// Sources lists those of one slot, closed or not.
func Sources(fs vfs.FS, store cluster.Store, slot cluster.SlotID, meta, spool string, closed bool) ([]Source, error) {
	cuts, err := journal.Cuts(fs, fs.PathJoin(meta, "journal"))
	if err != nil {
		return nil, err
	}
	var list []Source
	for i := range cuts {
		list = append(list, Source{Store: store, Slot: slot, Meta: meta, Spool: spool, Cut: &cuts[i]})
	}
	if closed {
		list = append(list, Source{Store: store, Slot: slot, Meta: meta, Spool: spool})
	}
	names, err := fs.List(fs.PathJoin(meta, aside))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list what was set aside: %w", err)
	}
	for _, n := range names {
		at := Source{Store: store, Slot: slot, Meta: fs.PathJoin(meta, aside, n), Spool: fs.PathJoin(spool, aside, n), Aside: n}
		if _, err := fs.Stat(fs.PathJoin(at.Meta, "journal")); err == nil {
			list = append(list, at)
		}
	}
	return list, nil
}

const (
	directory = "tails"
	aside     = "aside" // of package slot
)

func (s *Source) path(fs vfs.FS, suffix string) string {
	return fs.PathJoin(s.Meta, directory, s.Name()+suffix)
}

// dirs are those that there are: a slot whose journal was set aside may have had
// nothing on its big disk.
func (s *Source) dirs(fs vfs.FS) []string {
	list := []string{s.Meta}
	if _, err := fs.Stat(s.Spool); err == nil {
		list = append(list, s.Spool)
	}
	return list
}

// makeDir makes the directory for what is written, if it is not there.
func (s *Source) makeDir(fs vfs.FS) error {
	dir := fs.PathJoin(s.Meta, directory)
	if _, err := fs.Stat(dir); err == nil {
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look for %s: %w", dir, err)
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	return syncDir(fs, s.Meta)
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}
