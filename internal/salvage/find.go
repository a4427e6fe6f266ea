package salvage

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/snapshot"
)

// found is what there is of one slot.
type found struct {
	name      string // of its directories
	id        identity
	dirs      []string
	journal   string // its directory, "" if there is none
	packs     []string
	snapshots []string
}

// identity is what a slot's directory says of itself; read for labels only, so that
// its checksum does not matter.
type identity struct {
	Cluster string         `json:"cluster"`
	Store   cluster.Store  `json:"store"`
	Slot    cluster.SlotID `json:"slot"`
}

// maxDepth is how far below a given directory slots are looked for: a machine's
// have meta/slots/NAME/journal.
const maxDepth = 6

// find looks for slots in dirs.
func find(fs vfs.FS, dirs []string) ([]*found, error) {
	f := finder{fs: fs, at: map[string]*found{}}
	for _, d := range dirs {
		if _, err := fs.Stat(d); err != nil {
			return nil, fmt.Errorf("look for slots: %w", err)
		}
		if err := f.walk(d, maxDepth); err != nil {
			return nil, err
		}
	}
	return f.slots(), nil
}

type finder struct {
	fs vfs.FS
	at map[string]*found // by the slot's directory
}

func (f *finder) slot(dir string) *found {
	s := f.at[dir]
	if s == nil {
		s = &found{name: f.name(dir), dirs: []string{dir}}
		f.at[dir] = s
	}
	return s
}

// name is what the two directories of a slot have in common, also those within it of
// what it set aside, or of a copy that is being made.
func (f *finder) name(dir string) string {
	base, parent := f.fs.PathBase(dir), f.fs.PathDir(dir)
	switch {
	case base == "seed":
		return f.fs.PathBase(parent) + "." + base
	case f.fs.PathBase(parent) == "aside":
		return f.fs.PathBase(f.fs.PathDir(parent)) + "." + base
	}
	return base
}

func (f *finder) walk(dir string, depth int) error {
	names, err := f.fs.List(dir)
	if err != nil {
		return fmt.Errorf("look for slots in %s: %w", dir, err)
	}
	parent := f.fs.PathDir(dir)
	var segments, packs, snapshots bool
	for _, n := range names {
		_, isPack := pack.ParseName(n)
		_, isSnapshot := snapshot.ParseName(n)
		segments = segments || strings.HasSuffix(n, ".seg")
		packs, snapshots = packs || isPack, snapshots || isSnapshot
	}
	switch {
	case segments:
		f.slot(parent).journal = dir
	case packs:
		f.slot(parent).packs = append(f.slot(parent).packs, dir)
	case snapshots:
		f.slot(parent).snapshots = append(f.slot(parent).snapshots, dir)
	}
	if slices.Contains(names, "slot") {
		f.identify(dir)
	}
	for _, n := range names {
		path := f.fs.PathJoin(dir, n)
		if info, err := f.fs.Stat(path); depth > 0 && err == nil && info.IsDir() {
			if err := f.walk(path, depth-1); err != nil {
				return err
			}
		}
	}
	return nil
}

// identify reads a slot's identity as far as it can be read.
func (f *finder) identify(dir string) {
	file, err := f.fs.Open(f.fs.PathJoin(dir, "slot"))
	if err != nil {
		return
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, 64<<10))
	_, doc, ok := bytes.Cut(b, []byte("\n"))
	var id identity
	if err != nil || !ok || !bytes.HasPrefix(b, []byte("tandemail slot ")) || json.Unmarshal(doc, &id) != nil {
		return
	}
	f.slot(dir).id = id
}

// slots joins the directories of each slot: those with one id, or else one name.
func (f *finder) slots() []*found {
	var all []*found
	dirs := make([]string, 0, len(f.at))
	for d := range f.at {
		dirs = append(dirs, d)
	}
	slices.Sort(dirs)
	for _, d := range dirs {
		s := f.at[d]
		i := slices.IndexFunc(all, func(o *found) bool {
			if s.id.Slot.IsZero() || o.id.Slot.IsZero() {
				return s.name == o.name
			}
			return s.id.Slot == o.id.Slot
		})
		if i < 0 {
			all = append(all, s)
			continue
		}
		all[i].join(s)
	}
	return all
}

func (s *found) join(o *found) {
	if s.id.Slot.IsZero() {
		s.id = o.id
	}
	if s.journal == "" {
		s.journal = o.journal
	}
	s.dirs = append(s.dirs, o.dirs...)
	s.packs = append(s.packs, o.packs...)
	s.snapshots = append(s.snapshots, o.snapshots...)
}

// anything reports whether there is something to salvage.
func (s *found) anything() bool {
	return s.journal != "" || len(s.packs) > 0 || len(s.snapshots) > 0
}

func be64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

func absent(err error) bool { return errors.Is(err, os.ErrNotExist) }
