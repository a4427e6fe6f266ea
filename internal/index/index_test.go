package index

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/tandemail/tandemail/internal/cluster"
)

// What the state machine asks for.
type (
	reader interface {
		Get(key []byte) ([]byte, error)
		Scan(lo, hi []byte) iter.Seq2[[]byte, []byte]
	}
	keyValue interface {
		reader
		Set(key, value []byte) error
		Delete(key []byte) error
	}
)

var (
	_ keyValue = (*Batch)(nil)
	_ reader   = (*Snapshot)(nil)
)

func at(n int) cluster.Position {
	return cluster.Position{LSN: cluster.LSN(n), Epoch: cluster.Epoch(1 + n/10), Chain: cluster.Chain{byte(n), 31: 7}}
}

func mustOpen(t testing.TB, cfg Config) *DB {
	t.Helper()
	d, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func closing(t testing.TB, d *DB) *DB {
	t.Helper()
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func commit(t testing.TB, d *DB, n int, pairs ...string) {
	t.Helper()
	b := d.NewBatch()
	for i := 0; i < len(pairs); i += 2 {
		if err := b.Set([]byte(pairs[i]), []byte(pairs[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Commit(at(n)); err != nil {
		t.Fatal(err)
	}
}

func all(r reader, lo, hi string) map[string]string {
	m := map[string]string{}
	var bound []byte
	if hi != "" {
		bound = []byte(hi)
	}
	var kept [][2][]byte
	for k, v := range r.Scan([]byte(lo), bound) {
		kept = append(kept, [2][]byte{k, v})
	}
	for _, p := range kept { // after the scan: what it yields may be kept
		m[string(p[0])] = string(p[1])
	}
	return m
}

func take(t testing.TB, d *DB) *Snapshot {
	t.Helper()
	s, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBatchReadsItsOwnWritesLikeASortedMap(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		d := mustOpen(t, Config{FS: vfs.NewMem(), Dir: "index"})
		committed := map[string]string{}
		for n := range 15 {
			b, model := d.NewBatch(), maps.Clone(committed)
			for range 40 {
				key, value := fmt.Sprint("k", rng.IntN(30)), fmt.Sprint(rng.IntN(1000))
				switch rng.IntN(5) {
				case 0:
					delete(model, key)
					if err := b.Delete([]byte(key)); err != nil {
						t.Fatal(err)
					}
				case 1, 2:
					model[key] = value
					if err := b.Set([]byte(key), []byte(value)); err != nil {
						t.Fatal(err)
					}
				case 3:
					got, err := b.Get([]byte(key))
					want, ok := model[key]
					if err != nil || (got != nil) != ok || string(got) != want {
						t.Fatalf("seed %d: get %s: %q, %v, want %q", seed, key, got, err, want)
					}
				default:
					compareScan(t, seed, b, model, fmt.Sprint("k", rng.IntN(30)), fmt.Sprint("k", rng.IntN(30)))
				}
			}
			if rng.IntN(4) > 0 { // else drop the batch
				if err := b.Commit(at(n + 1)); err != nil {
					t.Fatal(err)
				}
				committed = model
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			if rng.IntN(4) == 0 {
				if _, err := d.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			s := take(t, d)
			compareScan(t, seed, s, committed, "", "")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func compareScan(t *testing.T, seed uint64, r reader, model map[string]string, lo, hi string) {
	t.Helper()
	var want, got []string
	for _, k := range slices.Sorted(maps.Keys(model)) {
		if k >= lo && (hi == "" || k < hi) {
			want = append(want, k+"="+model[k])
		}
	}
	var bound []byte
	if hi != "" {
		bound = []byte(hi)
	}
	if lo > hi && hi != "" {
		want = nil
	}
	for k, v := range r.Scan([]byte(lo), bound) {
		got = append(got, string(k)+"="+string(v))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("seed %d: scan [%s, %s) = %v, want %v", seed, lo, hi, got, want)
	}
}

func TestScanStopsAndSeesTheStateOfItsBeginning(t *testing.T) {
	d := closing(t, mustOpen(t, Config{FS: vfs.NewMem(), Dir: "index"}))
	commit(t, d, 1, "a", "1", "c", "3", "e", "5")
	b := d.NewBatch()
	if err := errors.Join(b.Set([]byte("b"), nil), b.Set([]byte("d"), []byte("4"))); err != nil {
		t.Fatal(err)
	}
	var got []string
	for k, v := range b.Scan(nil, nil) {
		if v == nil {
			t.Errorf("%s: an empty value was yielded as absent", k)
		}
		got = append(got, string(k))
		if err := errors.Join(b.Delete(k), b.Set([]byte("cc"), []byte("new"))); err != nil {
			t.Fatal(err)
		}
		if string(k) == "d" {
			break
		}
	}
	if !slices.Equal(got, []string{"a", "b", "c", "d"}) {
		t.Errorf("scanned %v", got)
	}
	if m := all(b, "", ""); !maps.Equal(m, map[string]string{"cc": "new", "e": "5"}) {
		t.Errorf("afterwards %v", m)
	}
	if v, err := b.Get([]byte("b")); v != nil || err != nil {
		t.Errorf("deleted key: %q, %v", v, err)
	}
}

func TestReservedKeysAreRefusedAndUnseen(t *testing.T) {
	d := closing(t, mustOpen(t, Config{FS: vfs.NewMem(), Dir: "index"}))
	commit(t, d, 1, "\xfe\xff", "last")
	if err := d.NewBatch().Set([]byte(appliedKey), []byte("x")); !errors.Is(err, errReserved) {
		t.Errorf("set of the applied key: %v", err)
	}
	if err := d.Derived().Set(1, []byte("m"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	s := take(t, d)
	defer s.Close()
	for _, hi := range []string{"", "\xff\xff"} {
		if m := all(s, "", hi); len(m) != 1 {
			t.Errorf("scan to %x: %v", hi, m)
		}
	}
}

func TestSnapshotNeverChanges(t *testing.T) {
	d := closing(t, mustOpen(t, Config{FS: vfs.NewMem(), Dir: "index"}))
	commit(t, d, 1, "a", "1")
	s, same := take(t, d), take(t, d)
	if s.shared != same.shared {
		t.Error("two snapshots of one state cost two")
	}
	b := d.NewBatch()
	if err := errors.Join(b.Set([]byte("b"), []byte("2")), b.Delete([]byte("a"))); err != nil {
		t.Fatal(err)
	}
	if m := all(s, "", ""); len(m) != 1 {
		t.Errorf("an uncommitted batch is seen: %v", m)
	}
	if err := b.Commit(at(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := same.Close(); err != nil {
		t.Fatal(err)
	}
	next := take(t, d)
	if m := all(s, "", ""); !maps.Equal(m, map[string]string{"a": "1"}) || s.Applied() != at(1) {
		t.Errorf("old snapshot at %v: %v", s.Applied(), m)
	}
	if m := all(next, "", ""); !maps.Equal(m, map[string]string{"b": "2"}) || next.Applied() != at(2) {
		t.Errorf("new snapshot at %v: %v", next.Applied(), m)
	}
	if err := errors.Join(s.Close(), next.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestCrashLeavesThePrefixThatTheAppliedPositionNames(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 4))
		mem := vfs.NewCrashableMem()
		d := mustOpen(t, Config{FS: mem, Dir: "index", MemTableSize: 64 << 10})
		states := []map[string]string{{}} // by LSN
		flushed := 0
		for n := 1; n <= 60; n++ {
			next := maps.Clone(states[n-1])
			b := d.NewBatch()
			for range 1 + rng.IntN(20) {
				k := fmt.Sprint("k", rng.IntN(50))
				if rng.IntN(4) == 0 {
					delete(next, k)
					_ = b.Delete([]byte(k))
				} else {
					next[k] = strings.Repeat(fmt.Sprint(n, " "), rng.IntN(200))
					_ = b.Set([]byte(k), []byte(next[k]))
				}
			}
			if err := b.Commit(at(n)); err != nil {
				t.Fatal(err)
			}
			states = append(states, next)
			if rng.IntN(20) == 0 {
				p, err := d.Flush()
				if err != nil || p != at(n) {
					t.Fatalf("flush: %v, %v", p, err)
				}
				flushed = n
			}
		}
		clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[seed%3], RNG: rng})
		after := mustOpen(t, Config{FS: clone, Dir: "index"})
		p := after.Applied()
		if p.LSN < cluster.LSN(flushed) || p.LSN > 60 || p.LSN > 0 && p != at(int(p.LSN)) {
			t.Fatalf("seed %d: applied %+v after a crash, flushed to %d", seed, p, flushed)
		}
		s := take(t, after)
		if m := all(s, "", ""); !maps.Equal(m, states[p.LSN]) {
			t.Fatalf("seed %d: %d keys at %d, want %d", seed, len(m), p.LSN, len(states[p.LSN]))
		}
		if err := errors.Join(s.Close(), after.Close(), d.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCloseKeepsEverything(t *testing.T) {
	fs := vfs.NewMem()
	d := mustOpen(t, Config{FS: fs, Dir: "index"})
	commit(t, d, 7, "a", "1")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d = closing(t, mustOpen(t, Config{FS: fs, Dir: "index"})); d.Applied() != at(7) {
		t.Errorf("applied %+v", d.Applied())
	}
}

func TestCheckpointIsAtThePositionItNames(t *testing.T) {
	fs := vfs.NewMem()
	d := closing(t, mustOpen(t, Config{FS: fs, Dir: "index"}))
	commit(t, d, 1, "a", "1")
	commit(t, d, 2, "b", "2")
	p, err := d.Checkpoint("copy")
	if err != nil || p != at(2) {
		t.Fatalf("checkpoint at %+v, %v", p, err)
	}
	commit(t, d, 3, "a", "3")
	c := closing(t, mustOpen(t, Config{FS: fs, Dir: "copy"}))
	s := take(t, c)
	defer s.Close()
	if m := all(s, "", ""); c.Applied() != p || !maps.Equal(m, map[string]string{"a": "1", "b": "2"}) {
		t.Errorf("copy at %+v holds %v", c.Applied(), m)
	}
}

// A failing MANIFEST makes Pebble call Fatalf, which by default ends the process;
// a failing table is a background error. A full disk is no other failure: another
// process opens the index again when there is room, at what was flushed.
func TestFailingDiskFailsOnlyThisIndex(t *testing.T) {
	for name, c := range map[string]struct {
		file  string
		errno syscall.Errno
	}{
		"broken MANIFEST": {"MANIFEST", syscall.EIO},
		"full MANIFEST":   {"MANIFEST", syscall.ENOSPC},
		"broken table":    {".sst", syscall.EIO},
		"full table":      {".sst", syscall.ENOSPC},
	} {
		t.Run(name, func(t *testing.T) {
			var broken atomic.Bool
			mem := vfs.NewCrashableMem()
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if broken.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.Contains(op.Path, c.file) {
					return c.errno
				}
				return nil
			}))
			failed := make(chan error, 2)
			d := mustOpen(t, Config{FS: fs, Dir: "index", Fail: func(err error) { failed <- err }})
			commit(t, d, 1, "a", "1")
			s := take(t, d)
			broken.Store(true)
			if _, err := d.Flush(); err == nil {
				t.Fatal("flushed to a broken disk")
			}
			if err := <-failed; err == nil || err.Error() != d.Err().Error() {
				t.Errorf("told %v, failed with %v", err, d.Err())
			}
			broken.Store(false)
			_, err1 := d.Snapshot()
			_, err2 := s.Get([]byte("a"))
			_, err3 := d.NewBatch().Get([]byte("b"))
			_, err4 := d.Checkpoint("copy")
			err5 := d.NewBatch().Commit(at(2))
			err6 := d.Derived().Set(1, []byte("k"), []byte("v"))
			for i, err := range []error{err1, err2, err3, err4, err5, err6} {
				if !errors.Is(err, d.Err()) {
					t.Errorf("call %d after the failure: %v", i+1, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if err := d.Close(); err == nil {
				t.Error("a failed index closed without an error")
			}
			if len(failed) != 0 {
				t.Error("told twice")
			}
			again := closing(t, mustOpen(t, Config{FS: mem.CrashClone(vfs.CrashCloneCfg{}), Dir: "index"}))
			if at := again.Applied().LSN; at > 1 {
				t.Errorf("opened again, it is at %d; 1 was committed", at)
			}
			commit(t, again, 2, "b", "2")
			if _, err := again.Flush(); err != nil {
				t.Errorf("flush with room: %v", err)
			}
			same := closing(t, mustOpen(t, Config{FS: fs, Dir: "index"})) // by the process that had it
			commit(t, same, 2, "b", "2")
			if _, err := same.Flush(); err != nil {
				t.Errorf("flush in the same directory: %v", err)
			}
		})
	}
}

func TestFortyIndexesShareTheirMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("opens forty databases")
	}
	shared := NewShared(16<<20, 400)
	defer shared.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 40 {
		d := closing(t, mustOpen(t, Config{FS: vfs.Default, Dir: fmt.Sprint(t.TempDir(), "/", i), Shared: shared, MemTableSize: 1 << 20}))
		commit(t, d, 1, "a", strings.Repeat("x", 100<<10))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 64<<20 {
		t.Errorf("forty open indexes take %d MiB", grown>>20)
	} else {
		t.Logf("%d KiB each", grown>>10/40)
	}
}

func BenchmarkDelivery(b *testing.B) {
	d := closing(b, mustOpen(b, Config{FS: vfs.Default, Dir: b.TempDir() + "/index"}))
	value := make([]byte, 300)
	batch := d.NewBatch()
	n := 0
	b.ReportAllocs()
	for b.Loop() { // an operation: two records rewritten, three new
		n++
		for _, k := range []string{"account", "mailbox"} {
			if _, err := batch.Get(fmt.Appendf(nil, "%04d/%s", n%100, k)); err != nil {
				b.Fatal(err)
			}
			_ = batch.Set(fmt.Appendf(nil, "%04d/%s", n%100, k), value)
		}
		for i := range 3 {
			_ = batch.Set(fmt.Appendf(nil, "%04d/m%d/%d", n%100, i, n), value)
		}
		if n%32 == 0 {
			if err := batch.Commit(cluster.Position{LSN: cluster.LSN(n)}); err != nil {
				b.Fatal(err)
			}
			batch = d.NewBatch()
		}
	}
	if err := batch.Close(); err != nil {
		b.Fatal(err)
	}
}
