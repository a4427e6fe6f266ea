package campaign

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Part is what a file of a slot is for.
type Part string

// The parts of a slot.
const (
	Any       Part = "" // all of them
	Journal   Part = "journal"
	Table     Part = "index table"
	Manifest  Part = "index MANIFEST" // and what else is small there
	Packs     Part = "packs"
	Snapshots Part = "snapshots"
	Identity  Part = "identity"
	Other     Part = "other"
)

// partOf says what the file at a path is for.
func partOf(name string) Part {
	switch base := path.Base(name); {
	case strings.Contains(name, "/journal"):
		return Journal
	case strings.Contains(name, "/index") && strings.HasSuffix(base, ".sst"):
		return Table
	case strings.Contains(name, "/index"):
		return Manifest // the directory, too: its sync makes a MANIFEST the present one
	case strings.Contains(name, "/packs"):
		return Packs
	case strings.Contains(name, "/snapshots"):
		return Snapshots
	case strings.HasPrefix(base, "slot"), strings.HasPrefix(base, "epoch"):
		return Identity
	}
	return Other
}

// access is what is tried with a file.
type access uint8

const (
	read access = 1 << iota
	write
	sync_
)

// trouble is what accesses to a part meet.
type trouble struct {
	part Part
	on   access
	err  error         // nil: it only takes time
	wait func()        // takes the time
	hang chan struct{} // closed when the disk goes on; nil: it does not hang
	left int           // accesses that meet it; negative: all
	torn bool          // the power goes in the middle of a write
}

var errNoPower = errors.New("no power")

// FS is one machine's disk. It can lose its power: from then on nothing changes,
// whatever the process still tries.
type FS struct {
	vfs.FS
	mem  *vfs.MemFS
	used atomic.Uint64 // percent
	// sparing: the index meets no trouble that would have it wait for ever under a lock,
	// which stops virtual time.
	sparing bool

	change sync.RWMutex // held for reading by what changes something
	dead   chan struct{}
	off    bool

	mu       sync.Mutex
	troubles []*trouble
	met      int
}

func newFS(mem *vfs.MemFS, sparing bool) *FS {
	return &FS{FS: mem, mem: mem, sparing: sparing, dead: make(chan struct{})}
}

// cut takes the power and returns the disk as the next boot finds it: with what was
// synced and so many percent of the rest. All of it is what a kill leaves.
func (f *FS) cut(keep int, rng *rand.Rand) *FS {
	f.change.Lock()
	defer f.change.Unlock()
	f.powerOff()
	next := newFS(f.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: rng}), f.sparing)
	next.used.Store(f.used.Load())
	return next
}

func (f *FS) powerOff() {
	if !f.off {
		f.off = true
		close(f.dead)
	}
}

// image is a copy of the disk as it is now, under the running machine.
func (f *FS) image(rng *rand.Rand) *FS {
	f.change.Lock()
	defer f.change.Unlock()
	return newFS(f.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng}), f.sparing)
}

// settle makes everything that was done to the disk durable, removals too.
func (f *FS) settle(dir string) {
	names, _ := f.mem.List(dir) // none: nothing to do
	for _, n := range names {
		full := path.Join(dir, n)
		if info, err := f.mem.Stat(full); err == nil && info.IsDir() {
			f.settle(full)
		}
	}
	if d, err := f.mem.OpenDir(dir); err == nil {
		_ = d.Sync() // in memory
		_ = d.Close()
	}
}

func (f *FS) add(t *trouble) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.troubles = append(f.troubles, t)
}

// heal ends all troubles; what hangs goes on.
func (f *FS) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.troubles {
		if t.hang != nil {
			close(t.hang)
		}
	}
	f.troubles = nil
}

// hits is how many accesses met trouble.
func (f *FS) hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.met
}

// meet finds the trouble of an access, nil if there is none, and takes its time.
func (f *FS) meet(a access, name string) *trouble {
	f.mu.Lock()
	var found *trouble
	p := partOf(name)
	for _, t := range f.troubles {
		spared := f.sparing && (p == Manifest && !t.torn || p == Table && t.err == nil)
		if t.on&a != 0 && (t.part == Any || t.part == p) && t.left != 0 && !spared {
			t.left--
			f.met++
			found = t
			break
		}
	}
	f.mu.Unlock()
	switch {
	case found == nil:
	case found.hang != nil:
		select {
		case <-found.hang:
		case <-f.dead:
		}
	case found.wait != nil:
		found.wait()
	}
	return found
}

// try does something unless trouble or the lack of power keeps it from that.
func (f *FS) try(a access, name string, do func() error) error {
	if t := f.meet(a, name); t != nil && t.err != nil && !t.torn {
		return t.err
	}
	if a == read {
		return do()
	}
	f.change.RLock()
	defer f.change.RUnlock()
	if f.off {
		return f.late(name)
	}
	return do()
}

// late is what a process without power is told. What its index hears no longer matters
// to anybody, but an error would have it wait for ever under a lock.
func (f *FS) late(name string) error {
	if p := partOf(name); f.sparing && (p == Manifest || p == Table) {
		return nil
	}
	return errNoPower
}

func (f *FS) open(a access, name string, open func() (vfs.File, error)) (vfs.File, error) {
	var got vfs.File
	err := f.try(a, name, func() (err error) {
		got, err = open()
		return err
	})
	if err == nil && got == nil {
		got, err = vfs.NewMem().Create("nothing", vfs.WriteCategoryUnspecified)
	}
	if err != nil {
		return nil, err
	}
	return &file{got, f, name}, nil
}

// Open implements vfs.FS.
func (f *FS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.open(read, name, func() (vfs.File, error) { return f.FS.Open(name, opts...) })
}

// Create implements vfs.FS.
func (f *FS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(write, name, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

// OpenReadWrite implements vfs.FS.
func (f *FS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.open(write, name, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, opts...) })
}

// OpenDir implements vfs.FS.
func (f *FS) OpenDir(name string) (vfs.File, error) {
	return f.open(read, name, func() (vfs.File, error) { return f.FS.OpenDir(name) })
}

// ReuseForWrite implements vfs.FS.
func (f *FS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(write, to, func() (vfs.File, error) { return f.FS.ReuseForWrite(from, to, c) })
}

// Link implements vfs.FS.
func (f *FS) Link(from, to string) error {
	return f.try(write, to, func() error { return f.FS.Link(from, to) })
}

// Rename implements vfs.FS.
func (f *FS) Rename(from, to string) error {
	return f.try(write, to, func() error { return f.FS.Rename(from, to) })
}

// Remove implements vfs.FS. A full disk removes.
func (f *FS) Remove(name string) error {
	return f.try(0, name, func() error { return f.FS.Remove(name) })
}

// RemoveAll implements vfs.FS.
func (f *FS) RemoveAll(name string) error {
	return f.try(0, name, func() error { return f.FS.RemoveAll(name) })
}

// MkdirAll implements vfs.FS.
func (f *FS) MkdirAll(dir string, perm os.FileMode) error {
	return f.try(write, dir, func() error { return f.FS.MkdirAll(dir, perm) })
}

// Lock implements vfs.FS.
func (f *FS) Lock(name string) (c io.Closer, err error) {
	err = f.try(0, name, func() (err error) {
		c, err = f.FS.Lock(name)
		return err
	})
	if err == nil && c == nil {
		err = errNoPower
	}
	return c, err
}

// GetDiskUsage implements vfs.FS.
func (f *FS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{TotalBytes: 100 << 30, AvailBytes: (100 - f.used.Load()) << 30}, nil
}

type file struct {
	vfs.File
	fs   *FS
	name string
}

// Read implements io.Reader.
func (f *file) Read(b []byte) (n int, err error) {
	err = f.fs.try(read, f.name, func() (err error) {
		n, err = f.File.Read(b)
		return err
	})
	return n, err
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(b []byte, off int64) (n int, err error) {
	err = f.fs.try(read, f.name, func() (err error) {
		n, err = f.File.ReadAt(b, off)
		return err
	})
	return n, err
}

// put writes, or writes a part and loses the power.
func (f *file) put(b []byte, to func([]byte) (int, error)) (n int, err error) {
	t := f.fs.meet(write, f.name)
	f.fs.change.RLock()
	if f.fs.off {
		f.fs.change.RUnlock()
		return len(b), f.fs.late(f.name)
	}
	switch {
	case t == nil || t.err == nil && !t.torn:
		n, err = to(b)
	case t.torn:
		_, _ = to(b[:len(b)/2])
		n, err = len(b), f.fs.late(f.name)
	default:
		err = t.err
	}
	f.fs.change.RUnlock()
	if t != nil && t.torn {
		f.fs.change.Lock()
		f.fs.powerOff()
		f.fs.change.Unlock()
	}
	return n, err
}

// Write implements io.Writer.
func (f *file) Write(b []byte) (int, error) { return f.put(b, f.File.Write) }

// WriteAt implements io.WriterAt.
func (f *file) WriteAt(b []byte, off int64) (int, error) {
	return f.put(b, func(b []byte) (int, error) { return f.File.WriteAt(b, off) })
}

// Preallocate implements vfs.File.
func (f *file) Preallocate(off, n int64) error {
	return f.fs.try(write, f.name, func() error { return f.File.Preallocate(off, n) })
}

// Sync implements vfs.File.
func (f *file) Sync() error { return f.fs.try(sync_, f.name, f.File.Sync) }

// SyncData implements vfs.File.
func (f *file) SyncData() error { return f.fs.try(sync_, f.name, f.File.SyncData) }

// SyncTo implements vfs.File.
func (f *file) SyncTo(n int64) (full bool, err error) {
	err = f.fs.try(sync_, f.name, func() (err error) {
		full, err = f.File.SyncTo(n)
		return err
	})
	return full, err
}

// files lists the files of a part, deepest names last.
func (f *FS) files(dir string, p Part) []string {
	var all []string
	names, err := f.mem.List(dir)
	if err != nil {
		return nil
	}
	for _, n := range names {
		full := path.Join(dir, n)
		if info, err := f.mem.Stat(full); err == nil && info.IsDir() {
			all = append(all, f.files(full, p)...)
		} else if err == nil && info.Size() > 0 && (p == Any || partOf(full) == p) {
			all = append(all, full)
		}
	}
	return all
}

// flip inverts one bit somewhere in a file of the part, as a disk does that rots. It
// returns where, "" if there is no such file.
func (f *FS) flip(p Part, rng *rand.Rand) (string, int64) {
	names := f.files("/", p)
	if len(names) == 0 {
		return "", 0
	}
	name := names[rng.IntN(len(names))]
	g, err := f.mem.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return "", 0
	}
	defer g.Close()
	info, err := g.Stat()
	if err != nil || info.Size() == 0 {
		return "", 0
	}
	at := rng.Int64N(info.Size())
	var b [1]byte
	if _, err := g.ReadAt(b[:], at); err != nil && !errors.Is(err, io.EOF) {
		return "", 0
	}
	b[0] ^= 1 << rng.IntN(8)
	if _, err := g.WriteAt(b[:], at); err != nil || g.Sync() != nil {
		return "", 0
	}
	return name, at
}

// Save writes everything that is on the disk to a real directory.
func (f *FS) Save(to string) error {
	for _, name := range f.files("/", Any) {
		g, err := f.mem.Open(name)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(g)
		if err = errors.Join(err, g.Close()); err != nil {
			return err
		}
		if err := os.MkdirAll(path.Join(to, path.Dir(name)), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path.Join(to, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (f *FS) isOff() bool {
	f.change.RLock()
	defer f.change.RUnlock()
	return f.off
}
