package bench

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestQuantileIsAtMostABucketAboveTheTrueOne(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 10, 1000, 50_000} {
		var h Histogram
		var all []time.Duration
		for range n {
			d := time.Duration(rng.Uint64() >> rng.IntN(64) >> 1)
			d = min(d, time.Hour)
			all = append(all, d)
			h.Add(d)
		}
		slices.Sort(all)
		for _, q := range []float64{0, 0.001, 0.5, 0.9, 0.99, 0.999, 1} {
			rank := min(max(int(q*float64(n)+0.9999999), 1), n)
			want, got := all[rank-1], h.Quantile(q)
			if got < want || float64(got) > float64(want)*1.032 {
				t.Errorf("%d values, quantile %v: got %d, true is %d", n, q, got, want)
			}
		}
		if h.Max() != all[n-1] || h.Quantile(1) != all[n-1] || h.Count() != int64(n) {
			t.Errorf("%d values: max %d, quantile 1 %d, want %d", n, h.Max(), h.Quantile(1), all[n-1])
		}
	}
}

func TestBucketsAreContiguous(t *testing.T) {
	for i := range buckets - 1 {
		top := bucketTop(i)
		if bucketOf(top) != i || bucketOf(top+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, which is in bucket %d, and %d is in %d", i, top, bucketOf(top), top+1, bucketOf(top+1))
		}
	}
	if bucketOf(1<<64-1) != buckets-1 {
		t.Fatalf("the largest value is in bucket %d of %d", bucketOf(1<<64-1), buckets)
	}
}

func TestMergedHistogramIsThatOfAllValues(t *testing.T) {
	var a, b, both Histogram
	for i := range 1000 {
		d := time.Duration(i*i) * time.Microsecond
		both.Add(d)
		if i%3 == 0 {
			a.Add(d)
		} else {
			b.Add(d)
		}
	}
	a.Merge(&b)
	if a != both {
		t.Fatal("merged histogram differs")
	}
	if both.Mean() != 332833500*time.Nanosecond {
		t.Fatalf("mean %v", both.Mean())
	}
}

func TestEmptyHistogramHasNoLatency(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Mean() != 0 || h.Max() != 0 {
		t.Fatal("an empty histogram shows a latency")
	}
}
