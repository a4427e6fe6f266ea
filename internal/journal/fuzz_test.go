package journal

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/tandemail/tandemail/internal/cluster"
)

// fuzzHead is a sound segment header at 0: the fuzzer need not find its checksum.
func fuzzHead() []byte { return segmentHead{}.encode(testStore) }

// reseal makes the batch at the beginning of b valid again, if its lengths allow,
// so that the fuzzer gets past the checksum.
func reseal(b []byte, prev cluster.Position) cluster.Position {
	if len(b) < batchHeaderLen {
		return prev
	}
	size, err := batchSize(b)
	if err != nil || size > len(b) {
		return prev
	}
	c := chainAfter(prev.Chain, b[:size])
	copy(b[offChain:], c[:])
	b[offCRC], b[offCRC+1], b[offCRC+2], b[offCRC+3] = le32(checksum(b[:size]))
	return cluster.Position{LSN: prev.LSN + cluster.LSN(size), Chain: c}
}

// FuzzOpen: whatever is in the files, Open neither panics nor takes much memory,
// what it accepts reads back, and opening again gives the same.
func FuzzOpen(f *testing.F) {
	j := mustCreate(f, config(newMem(f)))
	for range 3 {
		mustAppend(f, j, 1, "op", "another")
	}
	var good []byte
	for _, b := range collect(f, j, 0) {
		good = append(good, b.Raw...)
	}
	for _, seal := range []bool{false, true} {
		f.Add(append(fuzzHead(), good...), []byte(nil), seal)
		f.Add(append(fuzzHead(), good[:len(good)-3]...), []byte("TMJM"), seal)
		f.Add(append(fuzzHead(), make([]byte, 200)...), make([]byte, markSize), seal)
		f.Add([]byte("TMJSEGMT"), []byte(nil), seal)
	}
	f.Fuzz(func(t *testing.T, segment, mark []byte, seal bool) {
		if seal && len(segment) >= segmentHeaderLen {
			copy(segment, fuzzHead())
			at := cluster.Position{}
			for len(segment) >= segmentHeaderLen+int(at.LSN) {
				next := reseal(segment[segmentHeaderLen+at.LSN:], at)
				if next.LSN == at.LSN {
					break
				}
				at = next
			}
		}
		fs := vfs.NewMem()
		if err := fs.MkdirAll("slot", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := fs.MkdirAll("slot/journal", 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, fs, "slot/journal/"+segmentName(0), segment)
		if len(mark) > 0 {
			write(t, fs, "slot/journal/"+markName, mark)
		}
		j, rec, err := Open(config(fs))
		if err != nil {
			return
		}
		for b, err := range j.Batches(rec.Low.LSN, 0) {
			if err != nil {
				t.Fatalf("accepted and unreadable: %v", err)
			}
			for range b.Records() {
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if k, again, err := Open(config(fs)); err != nil || again.End != rec.End || (again.Damage != nil) != (rec.Damage != nil) {
			t.Fatalf("opened again: %+v, %v; first %+v", again, err, rec)
		} else if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
