package slot

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// power is a file system on a machine that can lose its power: from that moment
// on nothing more is written, whatever the process still tries.
type power struct {
	vfs.FS
	mem *vfs.MemFS

	failSyncs atomic.Int32 // how many of the next syncs fail
	read      atomic.Int64 // octets of files that were opened for reading
	badRead   atomic.Bool  // packs cannot be read
	badWrite  atomic.Pointer[badWrite]

	mu  sync.RWMutex
	off bool
}

var (
	errPower = errors.New("no power")
	errSync  = errors.New("sync failed")
)

func newPower(mem *vfs.MemFS) *power { return &power{FS: mem, mem: mem} }

// cut takes the power and returns the machine as it comes back: with what was
// synced and a share of what was not. All of it (100) is what a kill leaves.
func (p *power) cut(keepPercent int, rng *rand.Rand) *power {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = true
	return newPower(p.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keepPercent, RNG: rng}))
}

func (p *power) do(f func() error) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.off {
		return errPower
	}
	return f()
}

func (p *power) file(name string, open func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	err := p.do(func() (err error) {
		f, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &poweredFile{f, p, name}, nil
}

func (p *power) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := p.FS.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	return &countedFile{f, p, name}, nil
}

type countedFile struct {
	vfs.File
	power *power
	name  string
}

func (f *countedFile) ReadAt(b []byte, off int64) (int, error) {
	if f.power.badRead.Load() && strings.HasSuffix(f.name, ".pack") {
		return 0, syscall.EIO
	}
	n, err := f.File.ReadAt(b, off)
	f.power.read.Add(int64(n))
	return n, err
}

func (p *power) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return p.file(name, func() (vfs.File, error) { return p.FS.Create(name, c) })
}

func (p *power) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return p.file(name, func() (vfs.File, error) { return p.FS.OpenReadWrite(name, c, opts...) })
}

func (p *power) OpenDir(name string) (vfs.File, error) {
	return p.file(name, func() (vfs.File, error) { return p.FS.OpenDir(name) })
}

func (p *power) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return p.file(to, func() (vfs.File, error) { return p.FS.ReuseForWrite(from, to, c) })
}

func (p *power) Link(from, to string) error {
	return p.do(func() error { return p.FS.Link(from, to) })
}

func (p *power) Rename(from, to string) error {
	return p.do(func() error { return p.FS.Rename(from, to) })
}

func (p *power) Remove(name string) error {
	return p.do(func() error { return p.FS.Remove(name) })
}

func (p *power) RemoveAll(name string) error {
	return p.do(func() error { return p.FS.RemoveAll(name) })
}

func (p *power) MkdirAll(dir string, perm os.FileMode) error {
	return p.do(func() error { return p.FS.MkdirAll(dir, perm) })
}

func (p *power) Lock(name string) (c io.Closer, err error) {
	err = p.do(func() (err error) {
		c, err = p.FS.Lock(name)
		return err
	})
	return c, err
}

type poweredFile struct {
	vfs.File
	power *power
	name  string
}

func (f *poweredFile) Write(b []byte) (n int, err error) {
	err = f.power.do(func() (err error) {
		if err = f.power.badWrite.Load().of(f.name); err != nil {
			return err
		}
		n, err = f.File.Write(b)
		return err
	})
	return n, err
}

func (f *poweredFile) WriteAt(b []byte, off int64) (n int, err error) {
	err = f.power.do(func() (err error) {
		n, err = f.File.WriteAt(b, off)
		return err
	})
	return n, err
}

func (f *poweredFile) Sync() error { return f.power.do(f.File.Sync) }

func (f *poweredFile) SyncData() error {
	if f.power.failSyncs.Add(-1) >= 0 {
		return errSync
	}
	return f.power.do(f.File.SyncData)
}

func (f *poweredFile) SyncTo(n int64) (full bool, err error) {
	err = f.power.do(func() (err error) {
		full, err = f.File.SyncTo(n)
		return err
	})
	return full, err
}
