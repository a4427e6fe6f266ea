package journal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
)

var testStore = [16]byte{'t', 'e', 's', 't', 0xfe}

func config(fs vfs.FS) Config {
	return Config{
		FS: fs, Dir: "slot/journal", StoreID: testStore, Disk: disk.New(disk.Config{}),
		Log: slog.New(slog.DiscardHandler), SegmentSize: 4 << 10,
	}
}

func newMem(t testing.TB) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	if err := fs.MkdirAll("slot", 0o700); err != nil {
		t.Fatal(err)
	}
	syncDir(t, fs, "")
	return fs
}

func syncDir(t testing.TB, fs vfs.FS, dir string) {
	t.Helper()
	f, err := fs.OpenDir(dir)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func mustCreate(t testing.TB, cfg Config) *Journal {
	t.Helper()
	j, err := Create(cfg, cluster.Position{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func mustOpen(t testing.TB, cfg Config) (*Journal, Recovery) {
	t.Helper()
	j, rec, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j, rec
}

func mustAppend(t testing.TB, j *Journal, e cluster.Epoch, payloads ...string) Batch {
	t.Helper()
	b, err := j.Append(Head{Epoch: e, Commit: j.Durable()}, records(payloads...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func records(payloads ...string) (recs []Record) {
	for _, p := range payloads {
		recs = append(recs, Record{Kind: KindOperation, Level: 1, Payload: []byte(p)})
	}
	return recs
}

func mustSync(t testing.TB, j *Journal) {
	t.Helper()
	durable, err := j.Sync()
	if err != nil || durable != j.End().LSN {
		t.Fatalf("sync: durable %d of %d, %v", durable, j.End().LSN, err)
	}
}

func collect(t testing.TB, j *Journal, from cluster.LSN) (all []Batch) {
	t.Helper()
	for b, err := range j.Batches(from, 0) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

func sameBatches(t testing.TB, got, want []Batch) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d batches, want %d", len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i].Raw, want[i].Raw) || got[i].Position() != want[i].Position() {
			t.Fatalf("batch %d at %d differs from what was appended at %d", i, got[i].Base, want[i].Base)
		}
	}
}

// edit overwrites octets of the file that holds lsn, durably.
func edit(t testing.TB, j *Journal, fs vfs.FS, lsn cluster.LSN, b []byte) {
	t.Helper()
	s, _, _, err := j.acquire(lsn, false)
	if err != nil {
		t.Fatal(err)
	}
	defer j.release(s)
	f, err := fs.OpenReadWrite(s.path, writeCategory)
	if err == nil {
		_, err = f.WriteAt(b, s.offset(lsn))
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func crash(fs *vfs.MemFS, percent int, seed uint64) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(seed, 1))})
}

func TestAppendedBatchesReadBackAcrossSegmentsAndReopen(t *testing.T) {
	fs := newMem(t)
	j := mustCreate(t, config(fs))
	var want []Batch
	for i := range 60 {
		want = append(want, mustAppend(t, j, cluster.Epoch(1+i/20), fmt.Sprint("op ", i), strings.Repeat("x", i*7)))
	}
	sameBatches(t, collect(t, j, 0), want)
	mustSync(t, j)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, verify := range []cluster.LSN{0, want[30].End, want[59].End} {
		cfg := config(fs)
		cfg.VerifyFrom = verify
		k, rec := mustOpen(t, cfg)
		if rec.Damage != nil || rec.End != want[59].Position() || rec.Commit != want[59].Commit || rec.Torn != 0 {
			t.Fatalf("verify from %d: recovered %+v", verify, rec)
		}
		sameBatches(t, collect(t, k, 0), want)
		wantEpochs := []EpochStart{{1, 0, cluster.Chain{}}, {2, want[20].Base, want[19].Chain}, {3, want[40].Base, want[39].Chain}}
		if !slices.Equal(rec.Epochs, wantEpochs) {
			t.Errorf("verify from %d: epochs %v, want %v", verify, rec.Epochs, wantEpochs)
		}
		for _, b := range want {
			if p, err := k.PositionAt(b.End); err != nil || p != b.Position() {
				t.Fatalf("position at %d: %+v, %v", b.End, p, err)
			}
			if _, err := k.ChainAt(b.End - 1); !errors.Is(err, ErrBoundary) {
				t.Fatalf("chain inside a batch: %v", err)
			}
			for lsn, r := range b.Records() {
				got, err := k.Record(lsn)
				if err != nil || got.Kind != r.Kind || got.Level != 1 || !bytes.Equal(got.Payload, r.Payload) {
					t.Fatalf("record at %d: %v, %v", lsn, got, err)
				}
			}
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPayloadIsReadInPieces(t *testing.T) {
	j := mustCreate(t, config(newMem(t)))
	b := mustAppend(t, j, 1, "0123456789")
	at := b.Base + batchHeaderLen
	p := make([]byte, 4)
	if n, err := j.ReadPayloadAt(p, at, 3); n != 4 || err != nil || string(p) != "3456" {
		t.Errorf("read %q, %d, %v", p, n, err)
	}
	if n, err := j.ReadPayloadAt(p, at, 8); n != 2 || err == nil || string(p[:n]) != "89" {
		t.Errorf("read at the end %q, %v", p[:n], err)
	}
	if _, err := j.ReadPayloadAt(p, at, 11); err == nil {
		t.Error("read beyond the payload")
	}
}

func TestReplicaAppendsTheSameOctetsAndNothingElse(t *testing.T) {
	master, replica := mustCreate(t, config(newMem(t))), mustCreate(t, config(newMem(t)))
	a, b := mustAppend(t, master, 1, "a"), mustAppend(t, master, 2, "b")
	otherCfg := config(newMem(t))
	otherCfg.StoreID[0] ^= 1
	foreign := mustAppend(t, mustCreate(t, otherCfg), 1, "a")
	flipped := bytes.Clone(a.Raw)
	flipped[len(flipped)-1] ^= 1
	late, err := encode(testStore, cluster.Position{LSN: a.End, Epoch: 1}, Head{Epoch: 1}, records("z"))
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{
		"gap": b.Raw, "foreign store": foreign.Raw, "bit flip": flipped, "cut short": a.Raw[:len(a.Raw)-1], "two at once": append(bytes.Clone(a.Raw), b.Raw...),
	} {
		if _, err := replica.AppendRaw(raw); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: %v, want a mismatch", name, err)
		}
	}
	for _, m := range []Batch{a, b} {
		if got, err := replica.AppendRaw(m.Raw); err != nil || got.Position() != m.Position() || got.Commit != m.Commit {
			t.Fatalf("append %+v, %v", got, err)
		}
		if _, err := replica.AppendRaw(late.Raw); !errors.Is(err, ErrMismatch) {
			t.Errorf("batch of another chain or an older epoch: %v", err)
		}
	}
	if master.End() != replica.End() {
		t.Errorf("ends differ: %+v and %+v", master.End(), replica.End())
	}
	mustSync(t, replica)
}

func TestBatchOfANewerFormatIsRefusedAsNewer(t *testing.T) {
	fs := newMem(t)
	j := mustCreate(t, config(fs))
	b, err := encode(testStore, cluster.Position{}, Head{Epoch: 1}, records("from the future"))
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Clone(b.Raw)
	newer[offFormat] = 2
	newer[offCRC], newer[offCRC+1], newer[offCRC+2], newer[offCRC+3] = le32(checksum(newer))
	if _, err := j.AppendRaw(newer); !errors.Is(err, cluster.ErrNewer) {
		t.Errorf("append: %v, want ErrNewer", err)
	}
	mustAppend(t, j, 1, "of today, and longer than the other one")
	edit(t, j, fs, 0, newer)
	if _, _, err := Open(config(fs)); !errors.Is(err, cluster.ErrNewer) {
		t.Errorf("open: %v, want ErrNewer", err)
	}
}

func le32(n uint32) (a, b, c, d byte) { return byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24) }

func TestImpossibleAppendsChangeNothing(t *testing.T) {
	j := mustCreate(t, config(newMem(t)))
	mustAppend(t, j, 5, "first")
	end := j.End()
	for name, c := range map[string]struct {
		h    Head
		recs []Record
		want error
	}{
		"older epoch":   {Head{Epoch: 4}, records("x"), nil},
		"future commit": {Head{Epoch: 5, Commit: end.LSN + 1}, records("x"), nil},
		"empty":         {Head{Epoch: 5}, nil, nil},
		"unknown kind":  {Head{Epoch: 5}, []Record{{Kind: 99}}, nil},
		"high level":    {Head{Epoch: 5}, []Record{{Kind: KindFork, Level: 1 << 16}}, nil},
		"large chunk":   {Head{Epoch: 5}, []Record{{Kind: KindBodyChunk, Payload: make([]byte, MaxChunk+1)}}, ErrTooLarge},
		"large batch":   {Head{Epoch: 5}, []Record{{Kind: KindOperation, Payload: make([]byte, RoomFor()-recordHeaderLen+1)}}, ErrTooLarge},
	} {
		if _, err := j.Append(c.h, c.recs); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if j.End() != end || j.Err() != nil {
		t.Errorf("end %+v, want %+v; %v", j.End(), end, j.Err())
	}
	if b, err := j.Append(Head{Epoch: 5}, []Record{{Kind: KindOperation, Payload: make([]byte, RoomFor()-recordHeaderLen)}}); err != nil || len(b.Raw) != MaxBatch {
		t.Errorf("largest batch: %d octets, %v", len(b.Raw), err)
	}
}

func TestBatchesAreBoundedButNeverNone(t *testing.T) {
	j := mustCreate(t, config(newMem(t)))
	for range 5 {
		mustAppend(t, j, 1, strings.Repeat("x", 900))
	}
	for max, want := range map[int]int{1: 1, 2000: 1, 2100: 2, 0: 5} {
		n := 0
		for _, err := range j.Batches(0, max) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != want {
			t.Errorf("at most %d octets: %d batches, want %d", max, n, want)
		}
	}
	for from, want := range map[cluster.LSN]error{j.End().LSN + 1: ErrBeyond, 5: ErrBoundary} {
		for _, err := range j.Batches(from, 0) {
			if !errors.Is(err, want) {
				t.Errorf("from %d: %v, want %v", from, err, want)
			}
		}
	}
}

func TestFailedWriteOrSyncIsFinal(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpFileWriteAt, errorfs.OpFileSyncData} {
		broken := false
		fs := errorfs.Wrap(newMem(t), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if broken && op.Kind == kind && !strings.HasSuffix(op.Path, markName) {
				return syscall.EIO
			}
			return nil
		}))
		j := mustCreate(t, config(fs))
		mustAppend(t, j, 1, "good")
		mustSync(t, j)
		durable := j.Durable()
		broken = true
		_, err1 := j.Append(Head{Epoch: 1}, records("bad"))
		_, err2 := j.Sync()
		if err := errors.Join(err1, err2); !errors.Is(err, syscall.EIO) {
			t.Fatalf("%v: %v", kind, err)
		}
		broken = false
		_, err1 = j.Append(Head{Epoch: 1}, records("again"))
		_, err2 = j.Sync()
		if err1 == nil || err2 == nil || j.Durable() != durable {
			t.Errorf("%v: after a failure append %v, sync %v, durable %d of %d", kind, err1, err2, j.Durable(), durable)
		}
		if got := collect(t, j, 0); len(got) == 0 {
			t.Error("a failed journal must stay readable")
		}
	}
}

func TestFullDiskAssignsNothingAndIsNotFinal(t *testing.T) {
	full := false
	fs := errorfs.Wrap(newMem(t), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full && (op.Kind == errorfs.OpFilePreallocate || op.Kind == errorfs.OpFileWriteAt) && !strings.HasSuffix(op.Path, markName) {
			return syscall.ENOSPC
		}
		return nil
	}))
	j := mustCreate(t, config(fs))
	want := []Batch{mustAppend(t, j, 1, strings.Repeat("a", 3000))}
	for _, n := range []int{10, 3000} { // in this segment, and in one to be made
		full = true
		end := j.End()
		if _, err := j.Append(Head{Epoch: 1}, records(strings.Repeat("b", n))); !errors.Is(err, cluster.ErrFull) || j.End() != end {
			t.Fatalf("append on a full disk: %v, end %+v, want %+v", err, j.End(), end)
		}
		full = false
		want = append(want, mustAppend(t, j, 1, strings.Repeat("c", n)))
	}
	mustSync(t, j)
	k, rec := mustOpen(t, config(fs))
	if rec.Damage != nil {
		t.Fatal(rec.Damage)
	}
	sameBatches(t, collect(t, k, 0), want)
}

func TestCreateRefusesAnExistingJournal(t *testing.T) {
	fs := newMem(t)
	if _, _, err := Open(config(fs)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open of nothing: %v", err)
	}
	mustCreate(t, config(fs))
	if _, err := Create(config(fs), cluster.Position{}); !errors.Is(err, os.ErrExist) {
		t.Errorf("create over a journal: %v", err)
	}
}

func TestJournalBeginsWhereAReseedEnds(t *testing.T) {
	master := mustCreate(t, config(newMem(t)))
	a, b := mustAppend(t, master, 3, "a"), mustAppend(t, master, 3, "b")
	fs := newMem(t)
	j, err := Create(config(fs), a.Position())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.AppendRaw(b.Raw); err != nil {
		t.Fatal(err)
	}
	mustSync(t, j)
	k, rec := mustOpen(t, config(fs))
	want := []EpochStart{{3, a.End, a.Chain}}
	if rec.Low != a.Position() || rec.End != b.Position() || rec.Commit != a.End || !slices.Equal(rec.Epochs, want) {
		t.Errorf("recovered %+v", rec)
	}
	if _, err := k.Record(0); !errors.Is(err, ErrTrimmed) {
		t.Errorf("record below the low end: %v", err)
	}
}

func TestBoundsOfABatchAreFoundFromInside(t *testing.T) {
	fs, j, all := written(t, 40)
	check := func(j *Journal) {
		t.Helper()
		for _, b := range all {
			for _, at := range []cluster.LSN{b.Base, b.Base + 1, b.End - 1} {
				if lo, hi, err := j.Bounds(at); lo != b.Base || hi != b.End || err != nil {
					t.Fatalf("bounds at %d: [%d, %d), %v; want [%d, %d)", at, lo, hi, err, b.Base, b.End)
				}
			}
		}
		if _, _, err := j.Bounds(j.End().LSN); !errors.Is(err, ErrBeyond) {
			t.Errorf("bounds at the end: %v", err)
		}
		last := len(j.segs) - 1
		for lsn, want := range map[cluster.LSN]int{
			0: 0, j.segs[1].base.LSN - 1: 0, j.segs[1].base.LSN: 1, j.segs[last].base.LSN - 1: last - 1, j.End().LSN: last,
		} {
			if got := j.Sealed(lsn); got != j.segs[want].base.LSN {
				t.Errorf("sealed at %d: %d, want %d", lsn, got, j.segs[want].base.LSN)
			}
		}
	}
	check(j)
	mustSync(t, j)
	cfg := config(crash(fs, 100, 1))
	cfg.VerifyFrom = j.End().LSN // segments are trusted: their batches are found by walking
	k, _ := mustOpen(t, cfg)
	check(k)
	edit(t, k, k.cfg.FS, all[3].Base+batchHeaderLen, []byte("damage"))
	if _, hi, err := k.Bounds(all[3].Base); hi != all[4].Base || err != nil {
		t.Errorf("the end of a damaged batch: %d, %v", hi, err)
	}
}
