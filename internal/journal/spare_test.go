package journal

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
)

func TestPreparedFileBecomesTheNextSegment(t *testing.T) {
	fs := vfs.NewCrashableMem()
	cfg := Config{FS: fs, Dir: "j", StoreID: [16]byte{7}, Disk: disk.New(disk.Config{}), SegmentSize: 8192}
	j, err := Create(cfg, cluster.Position{})
	if err != nil {
		t.Fatal(err)
	}
	appendOne := func() {
		t.Helper()
		if _, err := j.Append(Head{Epoch: 1}, []Record{{Kind: KindOperation, Payload: make([]byte, 1000)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Prepare(); err != nil || len(j.spares) != 0 {
		t.Fatalf("an empty segment was followed up: %v, %v", j.spares, err)
	}
	for range 5 {
		appendOne()
	}
	if err := errors.Join(j.Prepare(), j.Prepare()); err != nil || len(j.spares) != 1 {
		t.Fatalf("spares %v, %v, want one", j.spares, err)
	}
	for len(j.segs) == 1 {
		appendOne()
	}
	if len(j.spares) != 0 {
		t.Errorf("the spare was not taken: %v", j.spares)
	}
	end := j.End()
	if _, err := j.Sync(); err != nil {
		t.Fatal(err)
	}
	cfg.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	again, rec, err := Open(cfg)
	if err != nil || rec.Damage != nil || rec.End != end {
		t.Fatalf("after a loss of power: %+v, %v; want end %+v", rec, err, end)
	}
	if err := errors.Join(again.Close(), j.Close()); err != nil {
		t.Error(err)
	}
}

func TestNothingIsPreparedWhileLargeBatchesCome(t *testing.T) {
	cfg := Config{FS: vfs.NewMem(), Dir: "j", StoreID: [16]byte{7}, Disk: disk.New(disk.Config{}), SegmentSize: 1 << 20}
	j, err := Create(cfg, cluster.Position{})
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if _, err := j.Append(Head{Epoch: 1}, []Record{{Kind: KindOperation, Payload: make([]byte, zerosWorth)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Prepare(); err != nil || len(j.spares) != 0 {
		t.Fatalf("in a burst: spares %v, %v", j.spares, err)
	}
	if err := j.Prepare(); err != nil || len(j.spares) != 1 {
		t.Errorf("in the lull after it: spares %v, %v", j.spares, err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

func TestFirstSegmentsAreSmall(t *testing.T) {
	cfg := withDefaults(Config{})
	for _, tc := range []struct {
		base cluster.LSN
		want int64
	}{{0, 4 << 20}, {4 << 20, 4 << 20}, {8 << 20, 8 << 20}, {60 << 20, 60 << 20}, {1 << 30, 64 << 20}} {
		if got := cfg.capacity(tc.base); got != tc.want {
			t.Errorf("segment at %d holds %d, want %d", tc.base, got, tc.want)
		}
	}
	if got := (Config{SegmentSize: 4096}).capacity(0); got != 4096 {
		t.Errorf("with a segment size of 4096 the first holds %d", got)
	}
}
