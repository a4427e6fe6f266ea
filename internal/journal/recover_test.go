package journal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/tandemail/tandemail/internal/cluster"
)

// written makes a journal of n durable batches, some of them in older segments.
func written(t *testing.T, n int) (*vfs.MemFS, *Journal, []Batch) {
	t.Helper()
	fs := newMem(t)
	j := mustCreate(t, config(fs))
	var all []Batch
	for i := range n {
		all = append(all, mustAppend(t, j, 1, fmt.Sprint("op ", i), strings.Repeat("x", 500)))
		mustSync(t, j)
	}
	return fs, j, all
}

func TestBitRotAnywhereBelowTheEndIsDamage(t *testing.T) {
	_, _, all := written(t, 20)
	for i := range all {
		for _, off := range []cluster.LSN{0, offBase, offPayload, offStore, offCRC, offChain, batchHeaderLen, batchHeaderLen + 50, cluster.LSN(len(all[i].Raw)) - 1} {
			fs, j, _ := written(t, 20)
			edit(t, j, fs, all[i].Base+off, []byte{all[i].Raw[off] ^ 0x10})
			k, rec := mustOpen(t, config(fs))
			if !errors.Is(rec.Damage, cluster.ErrDamaged) || rec.End.LSN != all[i].Base {
				t.Fatalf("batch %d, octet %d: end %d, damage %v", i, off, rec.End.LSN, rec.Damage)
			}
			sameBatches(t, collect(t, k, 0), all[:i])
			if _, err := k.Append(Head{Epoch: 2}, records("x")); !errors.Is(err, cluster.ErrDamaged) {
				t.Fatalf("a damaged journal was written: %v", err)
			}
			if err := k.TruncateTo(0); !errors.Is(err, cluster.ErrDamaged) {
				t.Fatalf("a damaged journal was truncated: %v", err)
			}
		}
	}
}

func TestReadingRottenOctetsIsAnErrorAndNoEnd(t *testing.T) {
	fs, j, all := written(t, 20)
	edit(t, j, fs, all[7].Base+200, []byte{'?'})
	n := 0
	var last error
	for _, err := range j.Batches(0, 0) {
		if last = err; err == nil {
			n++
		}
	}
	var c *CorruptError
	if !errors.As(last, &c) || c.At != all[7].Base || n != 7 {
		t.Errorf("%d batches, then %v", n, last)
	}
}

func TestDamagedSegmentHeaderIsDamage(t *testing.T) {
	for _, seg := range []int{0, 2} {
		fs, j, all := written(t, 20)
		base := j.segs[seg].base.LSN
		f, err := fs.OpenReadWrite(j.segs[seg].path, writeCategory)
		if err == nil {
			_, err = f.WriteAt([]byte{'?'}, segBase)
		}
		if err != nil {
			t.Fatal(err)
		}
		k, rec, err := Open(config(fs))
		if seg == 0 {
			if !errors.Is(err, cluster.ErrDamaged) {
				t.Errorf("nothing readable: %v", err)
			}
			continue
		}
		if err != nil || !errors.Is(rec.Damage, cluster.ErrDamaged) || rec.End.LSN != base {
			t.Fatalf("end %d, want %d, damage %v, %v", rec.End.LSN, base, rec.Damage, err)
		}
		sameBatches(t, collect(t, k, 0), all[:slices.IndexFunc(all, func(b Batch) bool { return b.Base == base })])
	}
}

func TestMissingSegmentIsDamage(t *testing.T) {
	for _, seg := range []int{1, 2} {
		fs, j, _ := written(t, 20)
		if err := fs.Remove(j.segs[seg].path); err != nil {
			t.Fatal(err)
		}
		if _, rec := mustOpen(t, config(fs)); !errors.Is(rec.Damage, cluster.ErrDamaged) || rec.End != j.segs[seg].base {
			t.Errorf("segment %d missing: end %+v, damage %v", seg, rec.End, rec.Damage)
		}
	}
}

func TestEndBelowAKnownPositionIsDamage(t *testing.T) {
	for name, set := range map[string]func(*Config, cluster.LSN){
		"applied":     func(c *Config, l cluster.LSN) { c.Applied = l },
		"commit":      func(c *Config, l cluster.LSN) { c.KnownCommit = l },
		"verify from": func(c *Config, l cluster.LSN) { c.VerifyFrom = l },
	} {
		fs, j, _ := written(t, 5)
		cfg := config(fs)
		set(&cfg, j.End().LSN)
		if _, rec := mustOpen(t, cfg); rec.Damage != nil {
			t.Errorf("%s at the end: %v", name, rec.Damage)
		}
		set(&cfg, j.End().LSN+1)
		if _, rec := mustOpen(t, cfg); !errors.Is(rec.Damage, cluster.ErrDamaged) {
			t.Errorf("%s beyond the end: %v", name, rec.Damage)
		}
	}
}

// A rotten last batch looks like a torn one; the durable mark knows better.
func TestRottenLastBatchIsDamage(t *testing.T) {
	fs, j, all := written(t, 3)
	edit(t, j, fs, all[2].Base+100, []byte{'?'})
	if _, rec := mustOpen(t, config(fs)); !errors.Is(rec.Damage, cluster.ErrDamaged) {
		t.Errorf("damage %v", rec.Damage)
	}
}

func TestTornTailIsDroppedAndWhatWasWholeIsKept(t *testing.T) {
	fs, j, all := written(t, 3)
	torn := mustAppend(t, j, 1, "written, never synced")
	whole := mustAppend(t, j, 1, "reached the disk first")
	edit(t, j, fs, torn.Base, make([]byte, len(torn.Raw)))
	k, rec := mustOpen(t, config(fs))
	if rec.Damage != nil || rec.End != all[2].Position() || rec.Torn != whole.End-torn.Base {
		t.Fatalf("recovered %+v", rec)
	}
	sameBatches(t, collect(t, k, 0), all)
	kept := "slot/journal/" + cutName(torn.Base, whole.End, 1) + cutSuffix
	if n := size(t, fs, kept); n != segmentHeaderLen+int64(whole.End-torn.Base) {
		t.Errorf("%s has %d octets", kept, n)
	}
	// The same batch again must not bring the dropped one back.
	if b, err := k.AppendRaw(torn.Raw); err != nil || b.End != torn.End {
		t.Fatal(err)
	}
	mustSync(t, k)
	if _, rec = mustOpen(t, config(fs)); rec.End != torn.Position() || rec.Damage != nil {
		t.Errorf("recovered %+v, want an end at %d", rec, torn.End)
	}
}

func size(t *testing.T, fs vfs.FS, path string) int64 {
	t.Helper()
	info, err := fs.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// A later batch that was written when the missing one was committed proves that it
// was durable, even if the mark is lost: on a member. On a copy that was catching
// up it is an ordinary torn tail.
func TestHoleBelowACommittedPositionIsDamageOfAMember(t *testing.T) {
	for _, member := range []bool{true, false} {
		fs, j, all := written(t, 5)
		edit(t, j, fs, all[3].Base, make([]byte, len(all[3].Raw)))
		if err := fs.Remove("slot/journal/" + markName); err != nil {
			t.Fatal(err)
		}
		cfg := config(fs)
		cfg.Member = member
		_, rec := mustOpen(t, cfg)
		if errors.Is(rec.Damage, cluster.ErrDamaged) != member || rec.End.LSN != all[2].End {
			t.Errorf("member %v: damage %v, end %d", member, rec.Damage, rec.End.LSN)
		}
	}
}

func TestHoleWithMoreBehindItThanIsInFlightIsDamage(t *testing.T) {
	for _, c := range []struct {
		batches int
		damage  bool
	}{{3, false}, {10, true}} {
		fs := newMem(t)
		cfg := config(fs)
		cfg.SegmentSize = 64 << 20
		j := mustCreate(t, cfg)
		var hole Batch
		for i := range c.batches {
			b, err := j.Append(Head{Epoch: 1}, []Record{{Kind: KindOperation, Payload: make([]byte, MaxChunk)}})
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				hole = b
			}
		}
		edit(t, j, fs, hole.Base, make([]byte, batchHeaderLen))
		if err := fs.Remove("slot/journal/" + markName); err != nil {
			t.Fatal(err)
		}
		if _, rec := mustOpen(t, cfg); (rec.Damage != nil) != c.damage {
			t.Errorf("%d batches: damage %v", c.batches, rec.Damage)
		}
	}
}

// A failed sync may leave octets in the page cache that are not on the disk and
// that no later sync writes.
func TestOpenWritesAgainWhatASyncMayHaveLost(t *testing.T) {
	mem := newMem(t)
	fs := &lossyFS{FS: mem}
	j := mustCreate(t, config(fs))
	a := mustAppend(t, j, 1, "durable")
	mustSync(t, j)
	b := mustAppend(t, j, 1, "only in the page cache")
	fs.lose = true
	if _, err := j.Sync(); err == nil {
		t.Fatal("the sync should have failed")
	}
	fs.lose = false
	_, rec := mustOpen(t, config(fs))
	if rec.End != a.Position() && rec.End != b.Position() {
		t.Fatalf("recovered %+v", rec)
	}
	if _, after := mustOpen(t, config(crash(mem, 0, 1))); after.End != rec.End || after.Damage != nil {
		t.Errorf("reported %d as durable, after a loss of power the end is %d, %v", rec.End.LSN, after.End.LSN, after.Damage)
	}
}

func TestMarkWithoutSegmentsIsDamage(t *testing.T) {
	fs, j, _ := written(t, 2)
	if err := fs.Remove(j.segs[0].path); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(config(fs)); !errors.Is(err, cluster.ErrDamaged) {
		t.Errorf("open: %v", err)
	}
}
