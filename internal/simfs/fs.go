// Package simfs is a file system in memory that forgets what a machine forgets,
// for seeded tests of what has to survive.
//
// What is written is in the page cache: others read it at once, and a kill does
// not harm it. A sync takes a file's dirty sectors, or a directory's changed
// names, to the platter; PowerLoss leaves the platter and a random part of the
// rest, sector by sector. A sync that fails calls the dirty sectors clean without
// writing them, as kernels do. Disks fill up, rot, and stop between two steps of
// one operation.
//
// All randomness comes from the caller, in an order that depends on nothing but
// the calls made. Pebble's crashable memory file system draws in the order of a
// map, copies a whole file in each sync and cannot lose what it has called clean,
// so that it does not serve here. Only what package journal calls is there: any
// other method panics. Not safe for concurrent use.
package simfs

import (
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrOff is the error of everything that is tried after StopAfter has struck.
var ErrOff = errors.New("no power")

// FS is one file system. Use New.
type FS struct {
	vfs.FS // nil

	names   map[string]*node // as processes see them
	kept    map[string]*node // on the platter
	changes []change         // of names, in order, that are not on the platter

	room      int // octets that files may still grow by; -1: any
	failSyncs int
	steps     int // until the power goes; -1: never
}

// change sets a name, or removes it if node is nil.
type change struct {
	dir, name string
	node      *node
	with      *change // the other half of a rename
}

// New returns an empty file system.
func New() *FS {
	return &FS{names: map[string]*node{}, kept: map[string]*node{}, room: -1, steps: -1}
}

// Clone returns a copy, as a snapshot of a running machine is one.
func (fs *FS) Clone() *FS {
	copies := map[*node]*node{}
	twin := func(n *node) *node {
		if n == nil {
			return nil
		}
		if copies[n] == nil {
			copies[n] = n.clone()
		}
		return copies[n]
	}
	c := New()
	for name, n := range fs.names {
		c.names[name] = twin(n)
	}
	for name, n := range fs.kept {
		c.kept[name] = twin(n)
	}
	for _, ch := range fs.changes {
		ch.node = twin(ch.node)
		if ch.with != nil {
			with := *ch.with
			with.node = twin(with.node)
			ch.with = &with
		}
		c.changes = append(c.changes, ch)
	}
	return c
}

// SetRoom says by how many octets files may still grow: what needs more fails with
// ENOSPC after filling it. Negative: any number.
func (fs *FS) SetRoom(octets int) { fs.room = octets }

// FailSyncs makes the next n syncs of files fail and lose what they should keep.
func (fs *FS) FailSyncs(n int) { fs.failSyncs = n }

// StopAfter takes the power after n more steps that change something: later ones
// fail and do nothing. PowerLoss or a negative n ends that.
func (fs *FS) StopAfter(n int) { fs.steps = n }

// Off reports whether StopAfter has struck.
func (fs *FS) Off() bool { return fs.steps == 0 }

// PowerLoss leaves what is on the platter and of the rest a part: the first few
// changes of names, and of the dirty sectors each with a chance drawn once.
// What a failed sync called clean is gone.
func (fs *FS) PowerLoss(rng *rand.Rand) {
	chance := []int{0, 50, 100}[rng.IntN(3)]
	for _, c := range fs.changes[:rng.IntN(len(fs.changes)+1)] {
		c.apply(fs.kept)
	}
	fs.changes = nil
	fs.names = maps.Clone(fs.kept)
	for _, name := range slices.Sorted(maps.Keys(fs.names)) {
		fs.names[name].crash(rng, chance)
	}
	fs.failSyncs, fs.steps = 0, -1
}

// Evict drops from the page cache what a failed sync called clean: it reads as it
// is on the platter from now on.
func (fs *FS) Evict() {
	for _, n := range fs.names {
		n.evict()
	}
}

// Flip inverts one bit of a file, in cache and on the platter.
func (fs *FS) Flip(name string, off int64, bit uint) {
	n := fs.names[name]
	for _, b := range [][]byte{n.cache, n.disk} {
		if off < int64(len(b)) {
			b[off] ^= 1 << (bit % 8)
		}
	}
}

// step counts one step that changes something.
func (fs *FS) step() error {
	if fs.steps == 0 {
		return ErrOff
	}
	if fs.steps > 0 {
		if fs.steps--; fs.steps == 0 {
			return ErrOff
		}
	}
	return nil
}

// grow takes octets of the room that is left and returns how many it got.
func (fs *FS) grow(octets int) (got int, err error) {
	if fs.room < 0 || octets <= fs.room {
		if fs.room > 0 {
			fs.room -= octets
		}
		return octets, nil
	}
	got, fs.room = fs.room, 0
	return got, syscall.ENOSPC
}

func (c change) apply(names map[string]*node) {
	if c.node == nil {
		delete(names, c.name)
	} else {
		names[c.name] = c.node
	}
	if c.with != nil {
		c.with.apply(names)
	}
}

// change does c to the names that processes see.
func (fs *FS) change(c change) error {
	if err := fs.step(); err != nil {
		return err
	}
	c.dir = path.Dir(c.name)
	c.apply(fs.names)
	fs.changes = append(fs.changes, c)
	return nil
}

// syncDir takes the names of a directory to the platter.
func (fs *FS) syncDir(dir string) error {
	if err := fs.step(); err != nil {
		return err
	}
	fs.changes = slices.DeleteFunc(fs.changes, func(c change) bool {
		if c.dir == dir {
			c.apply(fs.kept)
		}
		return c.dir == dir
	})
	return nil
}

// Create implements vfs.FS.
func (fs *FS) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	n := &node{}
	if err := fs.change(change{name: name, node: n}); err != nil {
		return nil, err
	}
	return &file{fs: fs, node: n}, nil
}

// Open implements vfs.FS.
func (fs *FS) Open(name string, _ ...vfs.OpenOption) (vfs.File, error) {
	n := fs.names[name]
	if n == nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	return &file{fs: fs, node: n}, nil
}

// OpenReadWrite implements vfs.FS.
func (fs *FS) OpenReadWrite(name string, c vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	if fs.names[name] == nil {
		return fs.Create(name, c)
	}
	return fs.Open(name)
}

// OpenDir implements vfs.FS.
func (fs *FS) OpenDir(name string) (vfs.File, error) { return &directory{fs: fs, name: name}, nil }

// MkdirAll implements vfs.FS: directories are always there.
func (fs *FS) MkdirAll(string, os.FileMode) error { return nil }

// Remove implements vfs.FS.
func (fs *FS) Remove(name string) error {
	if fs.names[name] == nil {
		return &os.PathError{Op: "remove", Path: name, Err: os.ErrNotExist}
	}
	return fs.change(change{name: name})
}

// Rename implements vfs.FS, within one directory.
func (fs *FS) Rename(from, to string) error {
	n := fs.names[from]
	if n == nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: os.ErrNotExist}
	}
	return fs.change(change{name: from, with: &change{name: to, node: n}})
}

// List implements vfs.FS; sorted.
func (fs *FS) List(dir string) ([]string, error) {
	var names []string
	for name := range fs.names {
		if rest, ok := strings.CutPrefix(name, dir+"/"); ok {
			names = append(names, rest)
		}
	}
	slices.Sort(names)
	return names, nil
}

// PathJoin implements vfs.FS.
func (*FS) PathJoin(elem ...string) string { return path.Join(elem...) }

// PathDir implements vfs.FS.
func (*FS) PathDir(p string) string { return path.Dir(p) }
