package replica

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

var update = flag.Bool("update", false, "rewrite golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run with -update and read the difference:\n%s", path, got)
	}
}

func sampleFrames() []Frame {
	pos := cluster.Position{LSN: 4096, Epoch: 3, Chain: cluster.Chain{1, 2, 3}}
	a, b := cluster.SlotID{0xa}, cluster.SlotID{0xb}
	return []Frame{
		Hello{
			Cluster: "c1", Generation: 1, Store: "s01", Slot: b, Kind: LogOnly, Health: Seeding, Incarnation: 77, Counter: 5,
			Stream: 9, Epoch: 3, Low: 128, End: pos, Commit: 4000, Applied: 3900,
			Starts: []EpochStart{{1, 0, cluster.Chain{}}, {3, 2048, cluster.Chain{9}}},
		},
		Welcome{Stream: 9, Epoch: 3, Answer: Reseed, Start: pos, Reason: "no common journal"},
		Batch{Stream: 9, Epoch: 3, Base: 4096, End: 4101, Commit: 4000, Raw: []byte("octet")},
		Heartbeat{Stream: 9, Epoch: 3, Commit: 4101, Stamp: 5 * time.Second},
		Ack{Stream: 9, Epoch: 3, Durable: 4101, Applied: 4000, Stamp: 5 * time.Second, Space: Warn},
		Record{Rev: 12, Record: cluster.StoreRecord{
			Store: "s01", Generation: 1, Epoch: 3, Master: a, Incarnation: 7, InSync: []cluster.SlotID{a}, Nonce: "n",
			Slots: []cluster.SlotRef{{Slot: a, Machine: "m1", Counter: 1}, {Slot: b, Machine: "m2"}},
		}},
		Bye{Reason: "drain"},
	}
}

func TestFramesAreAsDocumented(t *testing.T) {
	var out bytes.Buffer
	for _, f := range sampleFrames() {
		b, err := AppendFrame(nil, f)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%T\n%s\n", f, hex.Dump(b))
		got, err := DecodeFrame(b)
		if err != nil {
			t.Fatalf("%T: %v", f, err)
		}
		if !reflect.DeepEqual(got, f) {
			t.Errorf("%T came back as %+v, was %+v", f, got, f)
		}
	}
	golden(t, "frames.golden", out.Bytes())
}

func TestDamagedFrameIsRefused(t *testing.T) {
	for _, f := range sampleFrames() {
		b, err := AppendFrame(nil, f)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			bad := bytes.Clone(b)
			bad[i] ^= 0x10
			if _, err := DecodeFrame(bad); err == nil {
				t.Fatalf("%T: octet %d changed and nobody noticed", f, i)
			}
			if _, err := DecodeFrame(b[:i]); err == nil {
				t.Fatalf("%T: cut at %d and nobody noticed", f, i)
			}
		}
	}
}

func TestFrameOfANewerVersionSaysSo(t *testing.T) {
	b, err := AppendFrame(nil, Bye{})
	if err != nil {
		t.Fatal(err)
	}
	b[4] = FrameVersion + 1
	b = reseal(b)
	if _, err := DecodeFrame(b); !errors.Is(err, cluster.ErrNewer) {
		t.Errorf("got %v, want ErrNewer", err)
	}
}

func TestFrameAboveTheBoundIsRefused(t *testing.T) {
	if _, err := AppendFrame(nil, Batch{Raw: make([]byte, MaxFrame)}); !errors.Is(err, ErrFrame) {
		t.Errorf("encoding: got %v, want ErrFrame", err)
	}
	if _, err := FrameSize([]byte{0xff, 0xff, 0xff, 0xff}); !errors.Is(err, ErrFrame) {
		t.Errorf("reading: got %v, want ErrFrame", err)
	}
}

func FuzzDecodeFrame(f *testing.F) {
	for _, s := range sampleFrames() {
		b, err := AppendFrame(nil, s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[4 : len(b)-4])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) < 2 || len(body) > 1<<16 {
			return
		}
		b := reseal(append(append(make([]byte, 4), body...), 0, 0, 0, 0))
		got, err := DecodeFrame(b)
		if err != nil {
			return
		}
		again, err := AppendFrame(nil, got)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeFrame(again)
		if err != nil || !reflect.DeepEqual(back, got) {
			t.Fatalf("%+v came back as %+v, %v", got, back, err)
		}
	})
}
