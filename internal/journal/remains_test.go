package journal

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
)

// glean reads what remains of the journal of cfg.
func glean(t testing.TB, fs vfs.FS) (all []Batch, damage []error) {
	t.Helper()
	r, err := OpenRemains(fs, config(fs).Dir)
	if err != nil {
		t.Fatal(err)
	}
	for b, err := range r.Batches() {
		if err != nil {
			damage = append(damage, err)
			continue
		}
		all = append(all, b)
	}
	if id, ok := r.StoreID(); !ok || id != config(fs).StoreID {
		t.Errorf("store %x, %v", id, ok)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return all, damage
}

// several is a journal of many batches in several segments.
func severalSegments(t testing.TB, fs vfs.FS) (*Journal, []Batch) {
	t.Helper()
	cfg := config(fs)
	cfg.SegmentSize = 8192
	j := mustCreate(t, cfg)
	for i := range 60 {
		mustAppend(t, j, 1, strings.Repeat("x", 100+37*i%900))
	}
	mustSync(t, j)
	if len(j.segs) < 4 {
		t.Fatalf("only %d segments", len(j.segs))
	}
	return j, collect(t, j, 0)
}

func TestRemainsOfAWholeJournalAreAllOfIt(t *testing.T) {
	fs := newMem(t)
	j, want := severalSegments(t, fs)
	got, damage := glean(t, fs) // beside its owner
	sameBatches(t, got, want)
	if len(damage) > 0 {
		t.Errorf("damage: %v", damage)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRemainsSkipDamageAndNothingElse: whatever octets change, every batch that they
// are not of is found, and the hole is told.
func TestRemainsSkipDamageAndNothingElse(t *testing.T) {
	for seed := range uint64(200) {
		fs, rng := newMem(t), rand.New(rand.NewPCG(seed, 3))
		j, want := severalSegments(t, fs)
		i := rng.IntN(len(want))
		hit := want[i]
		junk := make([]byte, 1+rng.IntN(300))
		for k := range junk {
			junk[k] = byte(rng.Uint32())
		}
		at := hit.Base + cluster.LSN(rng.IntN(len(hit.Raw)))
		junk = junk[:min(len(junk), int(hit.End-at))]
		edit(t, j, fs, at, junk)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		got, damage := glean(t, fs)
		rest := slices.Delete(slices.Clone(want), i, i+1)
		sameBatches(t, got, rest)
		if len(damage) != 1 || !errors.Is(damage[0], cluster.ErrDamaged) {
			t.Fatalf("seed %d: batch %d of %d: damage %v", seed, i, len(want), damage)
		}
	}
}

func TestRemainsWithoutASegmentSayWhatIsMissing(t *testing.T) {
	fs := newMem(t)
	j, want := severalSegments(t, fs)
	first, last := j.segs[1], j.segs[2]
	if err := errors.Join(j.Close(), fs.Remove(first.path)); err != nil {
		t.Fatal(err)
	}
	got, damage := glean(t, fs)
	for _, b := range want {
		inside := b.Base >= first.base.LSN && b.Base < last.base.LSN
		if found := slices.ContainsFunc(got, func(x Batch) bool { return x.Base == b.Base }); found == inside {
			t.Errorf("batch at %d: found %v", b.Base, found)
		}
	}
	if len(damage) != 1 {
		t.Errorf("damage %v", damage)
	}
	if _, err := OpenRemains(fs, "nowhere"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nowhere: %v", err)
	}
}
