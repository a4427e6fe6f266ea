package journal

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/tandemail/tandemail/internal/cluster"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestFormatIsTheOneOnDisks compares with octets of the first release. If it fails,
// journals in the field can no longer be read: raise the format instead.
func TestFormatIsTheOneOnDisks(t *testing.T) {
	fs := newMem(t)
	start := cluster.Position{LSN: 0x1000, Epoch: 6, Chain: cluster.Chain{0xaa, 31: 0xbb}}
	j, err := Create(config(fs), start)
	if err != nil {
		t.Fatal(err)
	}
	b, err := j.Append(Head{Epoch: 7, Commit: 0x0fed}, []Record{
		{Kind: KindEpochStart, Level: 1, Payload: []byte("m1")},
		{Kind: KindBodyChunk, Level: 1, Payload: []byte("From: a@example.org\r\n\r\nHi\r\n")},
		{Kind: KindOperation, Level: 0x0203, Payload: []byte("op")},
	})
	if err != nil {
		t.Fatal(err)
	}
	mustSync(t, j)
	segment := contents(t, fs, "slot/journal/"+segmentName(start.LSN))
	golden(t, "batch.hex", b.Raw)
	golden(t, "segment.hex", segment)
	golden(t, "durable.hex", contents(t, fs, "slot/journal/"+markName))

	// The golden files must also read back, whatever this build writes.
	old := newMem(t)
	if err := old.MkdirAll("slot/journal", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, old, "slot/journal/"+segmentName(start.LSN), unhex(t, "segment.hex"))
	k, rec := mustOpen(t, config(old))
	if rec.Damage != nil || rec.Low != start || rec.Commit != start.LSN || rec.End.LSN != start.LSN+cluster.LSN(len(b.Raw)) || rec.End.Epoch != 7 {
		t.Errorf("recovered %+v", rec)
	}
	if got := collect(t, k, start.LSN); len(got) != 1 || got[0].Len() != 3 || !bytes.Equal(got[0].Raw, unhex(t, "batch.hex")) {
		t.Errorf("read back %d batches", len(got))
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(hex.Dump(bytes.TrimRight(got, "\x00"))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := unhex(t, name); !bytes.Equal(bytes.TrimRight(got, "\x00"), want) {
		t.Errorf("%s differs:\n%s", name, hex.Dump(got))
	}
}

// unhex reads what golden wrote: hex.Dump without trailing zeros.
func unhex(t *testing.T, name string) (out []byte) {
	t.Helper()
	dump, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(dump) {
		columns, _, _ := bytes.Cut(line, []byte("|"))
		fields := bytes.Fields(columns)
		for _, f := range fields[min(1, len(fields)):] {
			b, err := hex.DecodeString(string(f))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, b...)
		}
	}
	return out
}

func contents(t testing.TB, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, writeCategory)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
}
