package simfs

import (
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// sector is what a disk writes whole.
const sector = 512

// node is a file without its name.
type node struct {
	cache    []byte       // what processes read
	disk     []byte       // what is on the platter
	dirty    map[int]bool // sectors that differ and will be written; true in all
	lost     map[int]bool // sectors that differ and count as written
	reserved int
}

func (n *node) clone() *node {
	return &node{
		cache: slices.Clone(n.cache), disk: slices.Clone(n.disk),
		dirty: maps.Clone(n.dirty), lost: maps.Clone(n.lost), reserved: n.reserved,
	}
}

// save takes one sector to the platter.
func (n *node) save(i int) {
	from, to := i*sector, min((i+1)*sector, len(n.cache))
	n.disk = extend(n.disk, to)
	copy(n.disk[from:to], n.cache[from:to])
}

// evict reads lost sectors back from the platter.
func (n *node) evict() {
	if len(n.lost) == 0 {
		return
	}
	n.disk = extend(n.disk, len(n.cache))
	for i := range n.lost {
		copy(n.cache[i*sector:min((i+1)*sector, len(n.cache))], n.disk[i*sector:])
	}
	n.lost = nil
}

func (n *node) crash(rng *rand.Rand, chance int) {
	for _, i := range slices.Sorted(maps.Keys(n.dirty)) {
		if rng.IntN(100) < chance {
			n.save(i)
		}
	}
	n.cache, n.dirty, n.lost = slices.Clone(n.disk), nil, nil
}

func extend(b []byte, size int) []byte {
	if size <= len(b) {
		return b
	}
	return append(b, make([]byte, size-len(b))...)
}

// file is an open file.
type file struct {
	vfs.File // nil

	fs   *FS
	node *node
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(f.node.cache)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.cache[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.step(); err != nil {
		return 0, err
	}
	n, from, to := f.node, int(off), int(off)+len(p)
	var full error
	if more := to - max(len(n.cache), n.reserved); more > 0 {
		got, err := f.fs.grow(more)
		to, full = max(from, to-more+got), err
	}
	n.cache = extend(n.cache, to)
	copy(n.cache[from:to], p)
	if n.dirty == nil {
		n.dirty = map[int]bool{}
	}
	for i := from / sector; i*sector < to; i++ {
		n.dirty[i] = true
		delete(n.lost, i)
	}
	return to - from, full
}

// SyncData writes the dirty sectors, or fails and forgets that they are dirty.
func (f *file) SyncData() error {
	if err := f.fs.step(); err != nil {
		return err
	}
	n := f.node
	if f.fs.failSyncs > 0 {
		f.fs.failSyncs--
		if n.lost == nil {
			n.lost = map[int]bool{}
		}
		maps.Copy(n.lost, n.dirty)
		n.dirty = nil
		return syscall.EIO
	}
	for i := range n.dirty {
		n.save(i)
	}
	n.dirty = nil
	return nil
}

func (f *file) Sync() error { return f.SyncData() }

func (f *file) Preallocate(off, length int64) error {
	n, end := f.node, int(off+length)
	more := end - max(len(n.cache), n.reserved)
	if more <= 0 {
		return nil
	}
	if f.fs.room >= 0 && more > f.fs.room {
		return syscall.ENOSPC
	}
	if _, err := f.fs.grow(more); err != nil {
		return err
	}
	n.reserved = end
	return nil
}

func (f *file) Stat() (vfs.FileInfo, error) { return info{size: int64(len(f.node.cache))}, nil }

func (f *file) Close() error { return nil }

// directory is an open directory: it can be synced.
type directory struct {
	vfs.File // nil

	fs   *FS
	name string
}

func (d *directory) SyncData() error { return d.fs.syncDir(d.name) }
func (d *directory) Sync() error     { return d.fs.syncDir(d.name) }
func (d *directory) Close() error    { return nil }

// info has a size and nothing else.
type info struct{ size int64 }

func (i info) Name() string           { return "" }
func (i info) Size() int64            { return i.size }
func (i info) Mode() os.FileMode      { return 0o600 }
func (i info) ModTime() time.Time     { return time.Time{} }
func (i info) IsDir() bool            { return false }
func (i info) Sys() any               { return nil }
func (i info) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
