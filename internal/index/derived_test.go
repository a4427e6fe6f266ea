package index

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// BenchmarkDerived reads values of 900 octets, some at a time, in the order of their keys.
func BenchmarkDerived(b *testing.B) {
	d, err := Open(Config{FS: vfs.Default, Dir: b.TempDir(), Shared: NewShared(256<<20, 100)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	})
	var keys [][]byte
	for i := range 20_000 {
		k := binary.BigEndian.AppendUint64(nil, uint64(i))
		if err := d.Derived().Set(1, k, make([]byte, 900)); err != nil {
			b.Fatal(err)
		}
		keys = append(keys, k)
	}
	if _, err := d.Flush(); err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			i := 0
			for b.Loop() {
				if i += n; i+n > len(keys) {
					i = 0
				}
				if got := d.Derived().Get(1, keys[i:i+n]...); got[0] == nil {
					b.Fatal("it is not there")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/value")
		})
	}
}
