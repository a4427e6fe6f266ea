package journal

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tandemail/tandemail/internal/cluster"
)

func names(t *testing.T, j *Journal, suffix string) (out []string) {
	t.Helper()
	all, err := j.cfg.FS.List(j.cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range all {
		if strings.HasSuffix(n, suffix) || strings.HasPrefix(n, suffix) {
			out = append(out, n)
		}
	}
	return out
}

func TestTrimKeepsTheNewestTwoAndWhatIsPinned(t *testing.T) {
	_, j, all := written(t, 40)
	if n := len(names(t, j, segmentSuffix)); n < 5 {
		t.Fatalf("only %d segments", n)
	}
	pinned := j.segs[2].base
	release, err := j.Pin(pinned.LSN + 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Trim(j.End().LSN); err != nil {
		t.Fatal(err)
	}
	if j.Low() != pinned {
		t.Errorf("low %+v, pinned in the segment at %+v", j.Low(), pinned)
	}
	release()
	if err := j.Trim(j.End().LSN); err != nil {
		t.Fatal(err)
	}
	if segs, spares := names(t, j, segmentSuffix), names(t, j, sparePrefix); len(segs) != 2 || len(spares) != maxSpares {
		t.Errorf("left are %v and %v", segs, spares)
	}
	if _, err := j.Pin(0); !errors.Is(err, ErrTrimmed) {
		t.Errorf("pin below the low end: %v", err)
	}
	if _, err := j.Record(all[0].Base + batchHeaderLen); !errors.Is(err, ErrTrimmed) {
		t.Errorf("record below the low end: %v", err)
	}
	for _, err := range j.Batches(0, 0) {
		if !errors.Is(err, ErrTrimmed) {
			t.Errorf("batches below the low end: %v", err)
		}
	}
	if e := j.Epochs(); len(e) != 1 || e[0] != (EpochStart{1, j.Low().LSN, j.Low().Chain}) {
		t.Errorf("epochs %+v, low %+v", e, j.Low())
	}
}

func TestReusedSegmentsHoldOnlyWhatIsNew(t *testing.T) {
	fs, j, _ := written(t, 30)
	for round := range 6 {
		if err := j.Trim(j.End().LSN); err != nil {
			t.Fatal(err)
		}
		for i := range 12 {
			mustAppend(t, j, cluster.Epoch(2+round), fmt.Sprint("round ", round, i), strings.Repeat("y", 400))
			mustSync(t, j)
		}
		want := collect(t, j, j.Low().LSN)
		k, rec := mustOpen(t, config(crash(fs, 50, uint64(round))))
		if rec.Damage != nil || rec.End != j.End() || rec.Torn != 0 {
			t.Fatalf("round %d: recovered %+v, want an end at %+v", round, rec, j.End())
		}
		sameBatches(t, collect(t, k, j.Low().LSN), want)
	}
	if n := len(names(t, j, sparePrefix)) + len(names(t, j, segmentSuffix)); n > 6 {
		t.Errorf("%d files after trimming", n)
	}
}

func TestReaderKeepsATrimmedSegment(t *testing.T) {
	_, j, all := written(t, 40)
	s, end, _, err := j.acquire(0, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Trim(j.End().LSN); err != nil {
		t.Fatal(err)
	}
	for range 20 { // would overwrite it if it were reused
		mustAppend(t, j, 1, strings.Repeat("z", 900))
	}
	if b, err := readBatch(s, 0, end, testStore); err != nil || string(b.Raw) != string(all[0].Raw) {
		t.Errorf("read through the trim: %v", err)
	}
	j.release(s)
}

func TestTruncatedTailIsKeptAndNeverComesBack(t *testing.T) {
	for cut := range 15 {
		fs, j, all := written(t, 15)
		if err := j.TruncateTo(all[cut].Base + 1); !errors.Is(err, ErrBoundary) {
			t.Fatalf("truncate inside a batch: %v", err)
		}
		end := all[cut].Base
		if err := j.TruncateTo(end); err != nil {
			t.Fatal(err)
		}
		if j.End().LSN != end || j.Durable() != end {
			t.Fatalf("end %d, durable %d, want %d", j.End().LSN, j.Durable(), end)
		}
		if kept := names(t, j, cutSuffix); len(kept) != 1 || kept[0] != cutName(end, all[14].End, 1)+cutSuffix {
			t.Fatalf("kept %v", kept)
		}
		_, rec := mustOpen(t, config(crash(fs, 0, 1)))
		if rec.Damage != nil || rec.End.LSN != end {
			t.Fatalf("cut %d: recovered %+v, want an end at %d", cut, rec, end)
		}
		again := mustAppend(t, j, 2, "another history")
		mustSync(t, j)
		_, rec = mustOpen(t, config(crash(fs, 50, uint64(cut))))
		if rec.Damage != nil || rec.End != again.Position() {
			t.Fatalf("cut %d: recovered %+v, want %+v", cut, rec, again.Position())
		}
		sameBatches(t, collect(t, j, 0), append(all[:cut:cut], again))
	}
}

func TestReadersRunBesideTheAppender(t *testing.T) {
	_, j, _ := written(t, 1)
	done := make(chan struct{})
	var wg sync.WaitGroup
	read := func(f func() error) {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := f(); err != nil && !errors.Is(err, ErrTrimmed) {
					t.Error(err)
					return
				}
			}
		})
	}
	read(func() error {
		at := j.Low().LSN
		for b, err := range j.Batches(at, 0) {
			if err != nil {
				return err
			}
			if b.Base != at {
				return fmt.Errorf("batch at %d, expected %d", b.Base, at)
			}
			at = b.End
		}
		return nil
	})
	read(func() error { _, err := j.Record(j.Low().LSN + batchHeaderLen); return err })
	read(func() error { _, err := j.ChainAt(j.End().LSN); return err })
	read(func() error { return j.Trim(j.End().LSN) })
	read(func() error { _, err := j.Sync(); return err })
	for i := range 1500 {
		mustAppend(t, j, 1, fmt.Sprint(i), strings.Repeat("x", 200))
	}
	close(done)
	wg.Wait()
}
