package snapshot

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandemail/tandemail/internal/cluster"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenPlain has no compressed block: its snapshot is the same octets for ever.
func goldenPlain() map[string]string {
	return map[string]string{"a": "1", "b": "", "c": strings.Repeat("x", 100)}
}

// goldenZstd has compressed blocks, which other releases of the compressor may write
// otherwise: its snapshot must only be read.
func goldenZstd() map[string]string {
	return map[string]string{"a": strings.Repeat("a value that shrinks, ", 500), "b": strings.Repeat("another, ", 40000)}
}

// TestFormatIsTheOneOnDisks compares with octets of the first release. If it fails,
// snapshots in the field can no longer be read: raise the format instead.
func TestFormatIsTheOneOnDisks(t *testing.T) {
	for _, g := range []struct {
		file  string
		pairs map[string]string
		same  bool
	}{{"plain.hex", goldenPlain(), true}, {"zstd.hex", goldenZstd(), false}} {
		mem := newMem(t)
		now := octets(t, mem, mustWrite(t, config(mem, 9), headAt(0x1234), g.pairs).Path)
		path := filepath.Join("testdata", g.file)
		if *update {
			if err := os.WriteFile(path, []byte(hex.Dump(now)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		then := unhex(t, path)
		if g.same && !bytes.Equal(now, then) {
			t.Errorf("%s differs:\n%s", g.file, cmp.Diff(hex.Dump(then), hex.Dump(now)))
		}
		place(t, mem, "/spool/old.snap", then)
		h, got, err := read(mem, "/spool/old.snap")
		if err != nil || h != headAt(0x1234) || !maps.Equal(got, g.pairs) {
			t.Errorf("%s: %+v, %d pairs, %v", g.file, h, len(got), err)
		}
	}
}

func TestANewerFormatIsRefusedAsSuch(t *testing.T) {
	then := unhex(t, filepath.Join("testdata", "plain.hex"))
	mem := newMem(t)
	headLen := int(le.Uint32(then[hdLength:]))
	for name, change := range map[string]func(b []byte){
		"header": func(b []byte) { h := b[:headLen]; h[hdFormat]++; le.PutUint32(h[hdCRC:], checksum(h, hdCRC)) },
		"codec": func(b []byte) {
			k := b[headLen : headLen+blockHead]
			k[blkCodec] = 2
			le.PutUint32(k[blkCRC:], checksum(k, blkCRC))
		},
		"footer": func(b []byte) { f := b[len(b)-footLen:]; f[ftFormat]++; le.PutUint32(f[ftCRC:], checksum(f, ftCRC)) },
	} {
		b := bytes.Clone(then)
		change(b)
		place(t, mem, "/spool/new.snap", b)
		if _, _, err := read(mem, "/spool/new.snap"); !errors.Is(err, cluster.ErrNewer) || errors.Is(err, cluster.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, name := range []string{"plain.hex", "zstd.hex"} {
		f.Add(unhex(f, filepath.Join("testdata", name)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		mem := newMem(t)
		place(t, mem, "/spool/x.snap", b)
		_, _, _ = read(mem, "/spool/x.snap") // ends, without a panic and in bounded memory
	})
}

// unhex reads a file of hex.Dump's form.
func unhex(t testing.TB, path string) (b []byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "|")
		_, line, _ = strings.Cut(line, " ")
		octets, err := hex.DecodeString(strings.ReplaceAll(line, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, octets...)
	}
	return b
}
