package snapshot

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
)

const testDir = "/spool/snapshots"

func newMem(t testing.TB) *vfs.MemFS {
	t.Helper()
	mem := vfs.NewCrashableMem()
	if err := mem.MkdirAll("/spool", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/", "/spool"} {
		if err := disk.New(disk.Config{}).SyncDir(mem, dir); err != nil {
			t.Fatal(err)
		}
	}
	return mem
}

func config(fs vfs.FS, seed uint64) Config {
	var key [32]byte
	key[0] = byte(seed)
	return Config{FS: fs, Dir: testDir, Disk: disk.New(disk.Config{}), Rand: rand.NewChaCha8(key)}
}

func headAt(lsn cluster.LSN) Head {
	return Head{
		Cluster: "example", Store: "s1", StoreID: [16]byte{1, 2, 3}, Slot: cluster.SlotID{7},
		Position: cluster.Position{LSN: lsn, Epoch: 4, Chain: cluster.Chain{5, 6}}, Level: 1,
		Time: time.Date(2031, 2, 3, 4, 5, 6, 7000, time.UTC),
	}
}

// pairs are n of several sizes: of them one is larger than a block.
func pairs(n int) map[string]string {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	m := map[string]string{"": "the first key", "empty": ""}
	for i := range n {
		v := make([]byte, rng.IntN(2000))
		for j := range v {
			v[j] = "abcdefgh"[rng.IntN(8)] // shrinks
		}
		m[fmt.Sprintf("key %d", rng.IntN(1<<30))] = string(v)
		if i == n/2 {
			large := make([]byte, blockSize+1000)
			for j := range large {
				large[j] = byte(rng.Uint32())
			}
			m["large"] = string(large)
		}
	}
	return m
}

func ascending(m map[string]string) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield([]byte(k), []byte(m[k])) {
				return
			}
		}
	}
}

func whole() error { return nil }

func mustWrite(t testing.TB, cfg Config, h Head, m map[string]string) Summary {
	t.Helper()
	s, err := Write(cfg, h, ascending(m), whole)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func read(fs vfs.FS, path string) (Head, map[string]string, error) {
	r, err := Open(fs, path)
	if err != nil {
		return Head{}, nil, err
	}
	got := map[string]string{}
	for p, e := range r.Pairs() {
		if err = e; err == nil {
			got[string(p.Key)] = string(p.Value)
		}
	}
	return r.Head(), got, errors.Join(err, r.Close())
}

func list(t testing.TB, fs vfs.FS) []string {
	t.Helper()
	names, err := fs.List(testDir)
	if err != nil {
		return nil
	}
	slices.Sort(names)
	return names
}

func TestWhatWasWrittenIsReadBack(t *testing.T) {
	for _, n := range []int{0, 3, 2000} {
		mem, m := newMem(t), pairs(n)
		s := mustWrite(t, config(mem, 1), headAt(500), m)
		h, got, err := read(mem, s.Path)
		if err != nil || h != headAt(500) || !maps.Equal(got, m) || s.Pairs != uint64(len(m)) {
			t.Errorf("%d pairs: %+v, %d pairs, %v", len(m), h, len(got), err)
		}
		info, err := mem.Stat(s.Path)
		if err != nil || info.Size() != s.Size {
			t.Errorf("%d octets said, %v, %v", s.Size, info, err)
		}
	}
	mem := newMem(t)
	s, err := Write(config(mem, 1), headAt(1), func(func(k, v []byte) bool) {}, whole)
	if err != nil {
		t.Fatal(err)
	}
	if _, got, err := read(mem, s.Path); err != nil || len(got) != 0 {
		t.Errorf("of nothing: %v, %v", got, err)
	}
}

func TestTheNewestTwoStay(t *testing.T) {
	mem := newMem(t)
	for _, lsn := range []cluster.LSN{10, 300, 0x200} {
		mustWrite(t, config(mem, 1), headAt(lsn), pairs(1))
	}
	if got := fmt.Sprint(list(t, mem)); got != "[000000000000012c.snap 0000000000000200.snap]" {
		t.Errorf("files %s", got)
	}
	files, err := List(mem, testDir)
	if err != nil || len(files) != 2 || files[0].LSN != 0x200 || files[1].LSN != 300 {
		t.Errorf("listed %+v, %v", files, err)
	}
	if files, err := List(mem, "/nowhere"); err != nil || len(files) != 0 {
		t.Errorf("nowhere: %v, %v", files, err)
	}
}

func TestABrokenScanLeavesNothing(t *testing.T) {
	mem, broken := newMem(t), errors.New("index failed")
	for name, f := range map[string]func(Config) (Summary, error){
		"scan": func(c Config) (Summary, error) {
			return Write(c, headAt(1), ascending(pairs(9)), func() error { return broken })
		},
		"step": func(c Config) (Summary, error) {
			c.Step = func() error { return broken }
			many := func(yield func(k, v []byte) bool) {
				rng := rand.NewChaCha8([32]byte{1})
				for i := 0; i < 100; i++ {
					v := make([]byte, 100<<10)
					_, _ = rng.Read(v)
					if !yield([]byte{byte(i)}, v) {
						return
					}
				}
			}
			return Write(c, headAt(1), many, whole)
		},
		"order": func(c Config) (Summary, error) {
			return Write(c, headAt(1), func(yield func(k, v []byte) bool) { _ = yield([]byte{2}, nil) && yield([]byte{1}, nil) }, whole)
		},
		"size": func(c Config) (Summary, error) {
			return Write(c, headAt(1), func(yield func(k, v []byte) bool) { yield(make([]byte, MaxKey+1), nil) }, whole)
		},
	} {
		if _, err := f(config(mem, 1)); err == nil || cmp.Or(name == "scan", name == "step") && !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
		if names := list(t, mem); len(names) > 0 {
			t.Errorf("%s: left %v", name, names)
		}
	}
}

// TestEveryFlippedBitIsSeen: no octet of a snapshot can change unnoticed.
func TestEveryFlippedBitIsSeen(t *testing.T) {
	mem, m := newMem(t), pairs(5)
	delete(m, "large")
	s := mustWrite(t, config(mem, 1), headAt(500), m)
	f, err := mem.OpenReadWrite(s.Path, writeCategory)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flip := func(at int64, bit byte) {
		var b [1]byte
		_, err := f.ReadAt(b[:], at)
		if err == nil {
			b[0] ^= bit
			_, err = f.WriteAt(b[:], at)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for at := range s.Size {
		flip(at, 1<<(at%8))
		if _, _, err := read(mem, s.Path); !errors.Is(err, cluster.ErrDamaged) && !errors.Is(err, cluster.ErrNewer) {
			t.Fatalf("octet %d of %d: %v", at, s.Size, err)
		}
		flip(at, 1<<(at%8))
	}
	if _, _, err := read(mem, s.Path); err != nil {
		t.Fatal(err)
	}
}

func TestACutFileIsSeen(t *testing.T) {
	mem, m := newMem(t), pairs(40)
	s := mustWrite(t, config(mem, 1), headAt(500), m)
	b := octets(t, mem, s.Path)
	for _, n := range []int{0, 1, headFixed, 200, len(b) / 2, len(b) - footLen, len(b) - 1} {
		place(t, mem, "/spool/x.snap", b[:n])
		if _, _, err := read(mem, "/spool/x.snap"); !errors.Is(err, cluster.ErrDamaged) {
			t.Errorf("%d of %d octets: %v", n, len(b), err)
		}
	}
	place(t, mem, "/spool/x.snap", append(bytes.Clone(b), 0))
	if _, _, err := read(mem, "/spool/x.snap"); !errors.Is(err, cluster.ErrDamaged) {
		t.Errorf("an octet more: %v", err)
	}
}

// TestPowerLossLeavesAWholeSnapshotOrNone: at every file operation, with every share
// of what was not synced on the disk. The one before is always there.
func TestPowerLossLeavesAWholeSnapshotOrNone(t *testing.T) {
	m := pairs(20)
	for _, percent := range []int{0, 50, 100} {
		none, done := 0, false
		for at := 1; !done; at++ {
			mem, count := newMem(t), 0
			first := mustWrite(t, config(mem, 1), headAt(1), m)
			var clone *vfs.MemFS
			cut := func() {
				clone = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(at), 1))})
			}
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(errorfs.Op) error {
				if count++; count == at {
					cut()
				}
				return nil
			}))
			second := mustWrite(t, config(fs, 2), headAt(2), m)
			if done = count < at; done {
				cut()
			}
			files, err := List(clone, testDir)
			if err != nil || len(files) == 0 || files[len(files)-1].Path != first.Path {
				t.Fatalf("%d %%, operation %d: %v, %v", percent, at, files, err)
			}
			for _, f := range files {
				if _, got, err := read(clone, f.Path); err != nil || !maps.Equal(got, m) {
					t.Fatalf("%d %%, operation %d: %s: %v", percent, at, f.Path, err)
				}
			}
			if done && (len(files) != 2 || files[0].Path != second.Path) {
				t.Fatalf("%d %%: after Write: %v", percent, files)
			}
			if len(files) == 1 {
				none++
			}
			third := mustWrite(t, config(clone, 3), headAt(3), m)
			if names := list(t, clone); len(names) != 2 || names[1] != fileName(3) {
				t.Fatalf("%d %%, operation %d: after the next, %s: %v", percent, at, third.Path, names)
			}
		}
		if none < 4 {
			t.Errorf("%d %%: %d times none", percent, none)
		}
	}
}

func octets(t testing.TB, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func place(t testing.TB, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.Create(path, writeCategory)
	if err == nil {
		_, err = f.Write(b)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}
