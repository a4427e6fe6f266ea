package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/tandemail/tandemail/internal/cluster"
)

// world is a journal beside the simplest thing that it should be like.
type world struct {
	t    *testing.T
	rng  *rand.Rand
	seed uint64
	mem  *vfs.MemFS
	j    *Journal

	batches []Batch // from low to end
	durable cluster.LSN
	applied cluster.LSN
	low     cluster.LSN
	epoch   cluster.Epoch

	countdown int        // file operations until the power goes; 0 is never
	clone     *vfs.MemFS // the disk as the loss of power left it
}

func (w *world) fs() vfs.FS {
	return errorfs.Wrap(w.mem, errorfs.InjectorFunc(func(errorfs.Op) error {
		if w.countdown > 0 {
			if w.countdown--; w.countdown == 0 {
				w.clone = w.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[w.rng.IntN(3)], RNG: w.rng})
			}
		}
		return nil
	}))
}

func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("seed %d: "+format, append([]any{w.seed}, args...)...)
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.fatalf("%v", err)
	}
}

func (w *world) append() {
	var recs []Record
	for range 1 + w.rng.IntN(3) {
		p := make([]byte, w.rng.IntN(1+1500>>w.rng.IntN(8)))
		for i := range p {
			p[i] = byte(w.rng.Uint32())
		}
		recs = append(recs, Record{Kind: KindOperation, Level: 1, Payload: p})
	}
	b, err := w.j.Append(Head{Epoch: w.epoch, Commit: w.durable}, recs)
	w.check(err)
	w.batches = append(w.batches, b)
	w.durable = max(w.durable, w.j.Durable()) // a new segment syncs the old one
}

func (w *world) sync() {
	d, err := w.j.Sync()
	w.check(err)
	w.durable = d
	w.applied = d - min(d-w.applied, cluster.LSN(w.rng.IntN(3000)))
	for len(w.batches) > 0 && !w.isBoundary(w.applied) {
		w.applied--
	}
}

func (w *world) isBoundary(lsn cluster.LSN) bool {
	return lsn == w.low || slices.ContainsFunc(w.batches, func(b Batch) bool { return b.End == lsn })
}

// truncate does what a replica does whose tail a new master does not know.
func (w *world) truncate() {
	n := len(w.batches)
	for n > 0 && w.batches[n-1].Base >= w.applied && w.rng.IntN(3) > 0 {
		n--
	}
	end := w.low
	if n > 0 {
		end = w.batches[n-1].End
	}
	w.check(w.j.TruncateTo(end))
	w.batches, w.durable = slices.Clone(w.batches[:n]), min(w.durable, end)
	w.epoch++ // what follows is another history
}

func (w *world) trim() {
	w.check(w.j.Trim(w.applied))
	w.low = w.j.Low().LSN
	for len(w.batches) > 0 && w.batches[0].Base < w.low {
		w.batches = w.batches[1:]
	}
}

func (w *world) open() Recovery {
	cfg := config(w.fs())
	cfg.Applied, cfg.KnownCommit = w.applied, w.applied
	if w.rng.IntN(2) == 0 {
		cfg.VerifyFrom = w.applied
	}
	j, rec, err := Open(cfg)
	w.check(err)
	w.j = j
	return rec
}

// reopen verifies what a journal that comes back holds: everything durable, nothing
// that was not written, in order.
func (w *world) reopen(before world) {
	w.applied = min(before.applied, w.applied)
	rec := w.open()
	if rec.Damage != nil {
		w.fatalf("a loss of power is no damage: %v", rec.Damage)
	}
	must := min(before.durable, w.durable)
	if rec.End.LSN < must || rec.Low.LSN > max(before.low, w.low) {
		w.fatalf("recovered [%d, %d), durable was %d, low %d", rec.Low.LSN, rec.End.LSN, must, w.low)
	}
	var got []Batch
	for b, err := range w.j.Batches(rec.Low.LSN, 0) {
		w.check(err)
		got = append(got, b)
	}
	// The operation that was interrupted happened, did not, or in part.
	if !isPrefix(got, w.batches, rec.Low.LSN) && !isPrefix(got, before.batches, rec.Low.LSN) {
		w.fatalf("recovered %d batches in [%d, %d) that are no prefix of what was written", len(got), rec.Low.LSN, rec.End.LSN)
	}
	if w.j.Durable() != rec.End.LSN || w.j.End() != rec.End {
		w.fatalf("end %v, durable %d, recovered %v", w.j.End(), w.j.Durable(), rec.End)
	}
	w.batches, w.low, w.durable = got, rec.Low.LSN, rec.End.LSN
	w.epoch++
}

// isPrefix compares from the later of both beginnings, since trimmed files may come back.
func isPrefix(got, written []Batch, low cluster.LSN) bool {
	for len(got) > 0 && len(written) > 0 && got[0].Base < written[0].Base {
		got = got[1:]
	}
	for len(written) > 0 && written[0].Base < low {
		written = written[1:]
	}
	return len(got) <= len(written) && slices.EqualFunc(got, written[:len(got)], func(a, b Batch) bool {
		return string(a.Raw) == string(b.Raw)
	})
}

func (w *world) step() {
	before := *w
	before.batches = slices.Clone(w.batches)
	if w.rng.IntN(6) == 0 {
		w.countdown = 1 + w.rng.IntN(25)
	}
	switch n := w.rng.IntN(20); {
	case n < 10:
		w.append()
	case n < 15:
		w.sync()
	case n < 17:
		w.trim()
	case n == 17:
		w.truncate()
	case n == 18: // killed: the page cache survives
		w.check(w.j.Close())
		w.reopen(before)
	default: // the power goes between two operations
		if w.clone == nil {
			w.clone = w.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: w.rng})
		}
	}
	w.countdown = 0
	if w.clone != nil {
		_ = w.j.Close()
		w.mem, w.clone = w.clone, nil
		w.reopen(before)
	}
	sameBatches(w.t, collect(w.t, w.j, w.low), w.batches)
}

func TestJournalIsAnAppendOnlyListThroughCrashes(t *testing.T) {
	seeds := uint64(150)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 2)), mem: newMem(t), epoch: 1}
		w.j = mustCreate(t, config(w.fs()))
		for range 120 {
			w.step()
		}
		_ = w.j.Close()
	}
}

func TestCreateSurvivesALossOfPowerAtEveryStep(t *testing.T) {
	for at := 1; ; at++ {
		w := &world{t: t, seed: uint64(at), rng: rand.New(rand.NewPCG(uint64(at), 3)), mem: newMem(t), countdown: at}
		mustCreate(t, config(w.fs()))
		if w.clone == nil {
			return
		}
		cfg := config(w.clone)
		j, _, err := Open(cfg)
		if err != nil {
			if errors.Is(err, cluster.ErrDamaged) {
				t.Fatalf("step %d: %v", at, err)
			}
			j, err = Create(cfg, cluster.Position{}) // begun and not finished: begin again
		}
		if err != nil {
			t.Fatalf("step %d: %v", at, err)
		}
		mustAppend(t, j, 1, fmt.Sprint("step ", at))
		mustSync(t, j)
	}
}
