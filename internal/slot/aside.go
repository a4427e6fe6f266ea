package slot

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/state"
)

// What a slot had before it was made a copy is set aside, in both of its directories,
// under the time of that: it may be all that is left of a history that was not copied.
const (
	asideDir    = "aside"
	asideFormat = "20060102T150405Z"
	// maxAside is how many are kept at most, and asideFor for how long, while there is
	// room: until a disk warns.
	maxAside = 2
	asideFor = 7 * 24 * time.Hour
)

// place is one thing that a copy replaces.
type place struct{ dir, name string }

func (s *Slot) places(w whole) []place {
	list := []place{{s.cfg.Spool, packsDir}, {s.cfg.Spool, snapshotsDir}, {s.cfg.Spool, careFile}, {s.cfg.Meta, "journal"}}
	if w.Saved > 0 {
		list = append(list, place{s.cfg.Meta, "index"})
	}
	return list
}

// install puts a whole copy in place and takes the mark off the slot. After a stop at
// any moment it goes on: what is in a seed directory is still to be put in place.
func (s *Slot) install(id Identity, w whole) error {
	list := s.places(w)
	if err := s.keepCuts(); err != nil {
		return fmt.Errorf("keep tails of the journal: %w", err)
	}
	for _, p := range list {
		if err := s.setAside(p, w.Aside); err != nil {
			return fmt.Errorf("set %s aside: %w", p.name, err)
		}
	}
	for _, p := range list {
		if err := s.putInPlace(p); err != nil {
			return fmt.Errorf("put %s in place: %w", p.name, err)
		}
	}
	for _, p := range list {
		if !s.exists(p.dir, p.name) {
			return errors.Join(fmt.Errorf("%s was lost on its way into place; the slot is copied again: %w", p.name, cluster.ErrDamaged), s.begin())
		}
	}
	// An open counter that the record has relied on is not used again, whatever disk this was.
	if a, err := readAdopted(s.cfg.FS, s.cfg.Meta); err != nil {
		return err
	} else if a.Record != nil {
		ref, _ := a.Record.Ref(s.cfg.Slot)
		id.Opens = max(id.Opens, ref.Counter)
	}
	id.Seeding = false
	if err := writeIdentity(s.cfg.FS, s.cfg.Meta, s.cfg.Spool, id); err != nil {
		return fmt.Errorf("take the mark off: %w", err)
	}
	s.log.Info("slot is a copy of the master", "machine", w.From, "lsn", w.End)
	for _, dir := range []string{s.cfg.Meta, s.cfg.Spool} {
		if err := s.cfg.FS.RemoveAll(s.cfg.FS.PathJoin(dir, seedDir)); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.log.Warn("remains of the copy not removed", "err", err)
		}
	}
	return nil
}

func (s *Slot) exists(elem ...string) bool {
	_, err := s.cfg.FS.Stat(s.cfg.FS.PathJoin(elem...))
	return err == nil
}

// keepCuts moves tails that the journal kept into the new one's directory.
func (s *Slot) keepCuts() error {
	fs := s.cfg.FS
	from, to := fs.PathJoin(s.cfg.Meta, "journal"), fs.PathJoin(s.cfg.Meta, seedDir, "journal")
	if !s.exists(from) || !s.exists(to) {
		return nil
	}
	names, err := fs.List(from)
	if err != nil {
		return err
	}
	moved := false
	for _, name := range names {
		if strings.HasSuffix(name, ".cut") {
			if err := fs.Rename(fs.PathJoin(from, name), fs.PathJoin(to, name)); err != nil {
				return err
			}
			moved = true
		}
	}
	if !moved {
		return nil
	}
	if err := syncDir(fs, to); err != nil {
		return err
	}
	return syncDir(fs, from)
}

// setAside moves the old thing away if the new one is still to come.
func (s *Slot) setAside(p place, stamp string) error {
	fs := s.cfg.FS
	old, to := fs.PathJoin(p.dir, p.name), fs.PathJoin(p.dir, asideDir, stamp)
	if !s.exists(p.dir, seedDir, p.name) || !s.exists(old) {
		return nil
	}
	if s.exists(to, p.name) { // it was, and a stop brought the name back
		return fs.RemoveAll(old)
	}
	if err := fs.MkdirAll(to, 0o700); err != nil {
		return err
	}
	if err := fs.Rename(old, fs.PathJoin(to, p.name)); err != nil {
		return err
	}
	for _, dir := range []string{to, fs.PathJoin(p.dir, asideDir), p.dir} {
		if err := syncDir(fs, dir); err != nil {
			return err
		}
	}
	return nil
}

func (s *Slot) putInPlace(p place) error {
	fs := s.cfg.FS
	if !s.exists(p.dir, seedDir, p.name) {
		return nil
	}
	if err := fs.Rename(fs.PathJoin(p.dir, seedDir, p.name), fs.PathJoin(p.dir, p.name)); err != nil {
		return err
	}
	if err := syncDir(fs, p.dir); err != nil {
		return err
	}
	return syncDir(fs, fs.PathJoin(p.dir, seedDir))
}

// makeRoom has the big disk take a copy of so many octets: if there is no room for it
// beside the old data, that goes, what was set aside first. The master has a whole copy,
// and this slot none that could be used.
func (c *copying) makeRoom(octets int64) error {
	fs, d := c.cfg.FS, c.cfg.spoolDisk()
	for _, drop := range []string{"", asideDir, packsDir} {
		if drop != "" {
			c.log.Warn("no room for a copy beside the old data, which is removed", "err", cluster.ErrFull)
			if err := fs.RemoveAll(fs.PathJoin(c.cfg.Spool, drop)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("make room: %w", err)
			}
		}
		if err := d.Refresh(); err != nil {
			return fmt.Errorf("make room: %w", err)
		}
		if fits(d.Space(), octets-c.got()) {
			return nil
		}
	}
	return fmt.Errorf("a copy of %d octets does not fit on the disk: %w", octets, cluster.ErrFull)
}

// fits reports whether so much can be written before new octets are refused.
func fits(s disk.Space, octets int64) bool {
	kept := s.Total / 100 * (100 - disk.RefusePercent)
	return s.Total == 0 || octets <= 0 || s.Avail > kept && uint64(octets) <= s.Avail-kept
}

// got is what earlier conversations brought of the packs, about.
func (c *copying) got() (octets int64) {
	fs := c.cfg.FS
	dir := fs.PathJoin(c.spool, packsDir)
	names, err := fs.List(dir)
	if err != nil {
		return 0
	}
	for _, name := range names {
		if info, err := fs.Stat(fs.PathJoin(dir, name)); err == nil {
			octets += info.Size()
		}
	}
	return octets
}

// expireAside removes what was set aside long enough ago, or is in the way. Once the
// store has been forced on, the journal there may have what was acknowledged and is
// nowhere else: then it stays until a person removes it.
func (inc *incarnation) expireAside() error {
	if !inc.exists(inc.cfg.Meta, asideDir) && !inc.exists(inc.cfg.Spool, asideDir) {
		return nil
	}
	snap, err := inc.snapshot()
	if err != nil {
		return err
	}
	defer snap.release()
	if forked, err := state.Forked(snap); forked || err != nil {
		return err
	}
	fs, now := inc.cfg.FS, inc.cfg.Now()
	full := max(inc.cfg.Disk.Space().Level(), inc.cfg.spoolDisk().Space().Level()) >= disk.Warn
	for _, dir := range []string{inc.cfg.Meta, inc.cfg.Spool} {
		at := fs.PathJoin(dir, asideDir)
		names, err := fs.List(at)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("list what was set aside: %w", err)
		}
		slices.Sort(names)
		for i, name := range names {
			when, err := time.Parse(asideFormat, name)
			if err != nil {
				continue // not ours
			}
			if full || i < len(names)-maxAside || now.Sub(when) > asideFor {
				if err := fs.RemoveAll(fs.PathJoin(at, name)); err != nil {
					return fmt.Errorf("remove what was set aside: %w", err)
				}
				inc.log.Info("old data that was set aside is removed")
			}
		}
	}
	return nil
}
