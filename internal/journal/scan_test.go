package journal

import (
	"errors"
	"os"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
)

func TestScanSeesWhatAnOpenJournalHoldsAndChangesNothing(t *testing.T) {
	fs := vfs.NewMem()
	cfg := Config{FS: fs, Dir: "j", StoreID: [16]byte{7}, Disk: disk.New(disk.Config{}), SegmentSize: 4096}
	j, err := Create(cfg, cluster.Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	var want []cluster.LSN
	for i := range 40 {
		b, err := j.Append(Head{Epoch: 1}, []Record{{Kind: KindOperation, Payload: make([]byte, 100*(i%7+1))}})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, b.Base)
	}
	if len(j.segs) < 3 {
		t.Fatalf("only %d segments: the test needs several", len(j.segs))
	}
	for _, from := range []int{0, 1, 17, 39} {
		var got []cluster.LSN
		for b, err := range Scan(cfg, want[from]) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b.Base)
			if b.Len() != 1 {
				t.Errorf("batch at %d has %d records", b.Base, b.Len())
			}
		}
		if len(got) != len(want)-from || got[0] != want[from] {
			t.Errorf("from %d: %d batches, first %v; want %d", want[from], len(got), got, len(want)-from)
		}
	}
	if b, err := j.Append(Head{Epoch: 1}, []Record{{Kind: KindOperation, Payload: []byte("after")}}); err != nil || b.Base < want[39] {
		t.Errorf("append after the scan: %v", err)
	}
}

func TestScanSaysWhereASegmentIsMissing(t *testing.T) {
	fs := vfs.NewMem()
	cfg := Config{FS: fs, Dir: "j", StoreID: [16]byte{7}, Disk: disk.New(disk.Config{}), SegmentSize: 4096}
	j, err := Create(cfg, cluster.Position{})
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if _, err := j.Append(Head{Epoch: 1}, []Record{{Kind: KindOperation, Payload: make([]byte, 400)}}); err != nil {
			t.Fatal(err)
		}
	}
	low, end, err := Extent(cfg)
	if want := j.End().LSN; err != nil || low != 0 || end != want {
		t.Errorf("extent %d-%d, want 0-%d: %v", low, end, want, err)
	}
	middle := j.segs[1].path
	if err := errors.Join(j.Close(), fs.Remove(middle)); err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range Scan(cfg, 0) {
		last = err
	}
	if !errors.Is(last, cluster.ErrDamaged) {
		t.Errorf("scan ended with %v", last)
	}
	for _, err := range Scan(Config{FS: fs, Dir: "none"}, 0) {
		last = err
	}
	if !errors.Is(last, os.ErrNotExist) {
		t.Errorf("scan of nothing ended with %v", last)
	}
	if _, _, err := Extent(Config{FS: fs, Dir: "none"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("extent of nothing: %v", err)
	}
}
