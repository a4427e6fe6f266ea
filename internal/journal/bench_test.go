package journal

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// BenchmarkAppend writes batches of 4 KiB bodies to a real file system.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 64} {
		for _, sync := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dx4KiB/sync=%v", n, sync), func(b *testing.B) {
				cfg := config(vfs.Default)
				cfg.Dir, cfg.SegmentSize = b.TempDir()+"/journal", 64<<20
				j := mustCreate(b, cfg)
				var recs []Record
				for range n {
					recs = append(recs, Record{Kind: KindBodyChunk, Level: 1, Payload: make([]byte, 4<<10)})
				}
				b.SetBytes(int64(n * 4 << 10))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := j.Append(Head{Epoch: 1}, recs); err != nil {
						b.Fatal(err)
					}
					if sync {
						if _, err := j.Sync(); err != nil {
							b.Fatal(err)
						}
					}
					if err := j.Trim(j.Durable()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
