package journal

import "testing"

// TestCutIsReadInItsOldPlace: with what came before it, and without what came there since.
func TestCutIsReadInItsOldPlace(t *testing.T) {
	fs := newMem(t)
	j, want := severalSegments(t, fs)
	at := want[len(want)/2].Base
	if err := j.TruncateTo(at); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		mustAppend(t, j, 2, "of another history")
	}
	mustSync(t, j)
	cuts, err := Cuts(fs, config(fs).Dir)
	if err != nil || len(cuts) != 1 || cuts[0].From != at || cuts[0].To != want[len(want)-1].End || cuts[0].Epoch != 1 {
		t.Fatalf("cuts %+v, %v", cuts, err)
	}
	r, err := OpenCut(fs, config(fs).Dir, cuts[0])
	if err != nil {
		t.Fatal(err)
	}
	var got []Batch
	for b, err := range r.Batches() {
		if err != nil {
			t.Errorf("damage: %v", err)
			continue
		}
		got = append(got, b)
	}
	sameBatches(t, got, want)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
