package latency

import (
	"slices"
	"sync"
	"testing"
	"time"
)

func TestBoundsAreInclusiveAndWhatIsLongerIsCountedApart(t *testing.T) {
	h := New(time.Millisecond, time.Second)
	for _, d := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, time.Second, time.Second + 1, time.Hour} {
		h.Observe(d)
	}
	c := h.Counts()
	if want := []uint64{2, 2, 2}; !slices.Equal(c.Buckets, want) {
		t.Errorf("buckets %v, want %v", c.Buckets, want)
	}
	if want := 2*time.Millisecond + 2*time.Second + time.Hour + 2; c.Sum != want || c.Total() != 6 {
		t.Errorf("sum %v of %d, want %v of 6", c.Sum, c.Total(), want)
	}
}

func TestNothingIsLostUnderConcurrency(t *testing.T) {
	h := New(time.Millisecond)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				h.Observe(time.Microsecond)
			}
		})
	}
	wg.Wait()
	if c := h.Counts(); c.Total() != 8000 || c.Sum != 8*time.Millisecond {
		t.Errorf("%d observations, %v in all", c.Total(), c.Sum)
	}
}
