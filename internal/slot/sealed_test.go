package slot

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenDocs are the documents whose octets must not change (docs/format/slot.md).
func goldenDocs() map[string]any {
	return map[string]any{
		identityFile: Identity{
			Cluster: "example", Store: "s01", StoreID: storeID("example", "s01"), Slot: cluster.SlotID{0xa1, 0xb2}, Opens: 7,
		},
		adoptedFile: adopted{Epoch: 12, Rev: 345, CoordRev: 678, Record: &cluster.StoreRecord{
			Store: "s01", Slots: []cluster.SlotRef{{Slot: cluster.SlotID{1}, Machine: "m1", Counter: 7}, {Slot: cluster.SlotID{2}, Machine: "m2", Counter: 3}},
			Epoch: 12, Master: cluster.SlotID{1}, Incarnation: 99, InSync: []cluster.SlotID{{1}, {2}}, Nonce: "0000000000000063-1",
		}},
		applyingFile: applying{At: "00000000000000123456", Deaths: 1},
	}
}

func TestSealedFilesKeepTheirFormat(t *testing.T) {
	for kind, doc := range goldenDocs() {
		path := filepath.Join("testdata", kind+".sealed")
		got, err := sealedOctets(kind, doc)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(path, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is written as\n%s\nnot as\n%s", kind, got, want)
		}
	}
}

func TestSealedFileThatIsNotWholeIsDamaged(t *testing.T) {
	whole, err := sealedOctets(identityFile, goldenDocs()[identityFile])
	if err != nil {
		t.Fatal(err)
	}
	var id Identity
	if err := parseSealed(identityFile, whole, &id); err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		id = Identity{}
		flipped := bytes.Clone(whole)
		flipped[at] ^= 0x01
		if err := parseSealed(identityFile, flipped, &id); !errors.Is(err, cluster.ErrDamaged) && !errors.Is(err, cluster.ErrNewer) {
			t.Errorf("octet %d changed: %v", at, err)
		}
		if err := parseSealed(identityFile, whole[:at], &id); !errors.Is(err, cluster.ErrDamaged) {
			t.Errorf("cut at %d: %v", at, err)
		}
	}
	for _, c := range []struct {
		octets string
		want   error
	}{
		{string(whole) + "\n", cluster.ErrDamaged},
		{strings.Replace(string(whole), "slot 1 ", "epoch 1 ", 1), cluster.ErrDamaged},
		{strings.Replace(string(whole), "slot 1 ", "slot 2 ", 1), cluster.ErrNewer},
	} {
		if err := parseSealed(identityFile, []byte(c.octets), &id); !errors.Is(err, c.want) {
			t.Errorf("%.40q: %v, want %v", c.octets, err, c.want)
		}
	}
}

func TestReplacingASealedFileKeepsOldOrNew(t *testing.T) {
	fs := newPower(vfs.NewCrashableMem())
	if err := errors.Join(fs.MkdirAll("/meta", 0o700), syncDir(fs, "/")); err != nil {
		t.Fatal(err)
	}
	for epoch := range cluster.Epoch(5) {
		if err := writeSealed(fs, "/meta", adoptedFile, adopted{Epoch: epoch}); err != nil {
			t.Fatal(err)
		}
		fs = fs.cut(0, nil)
		if got, err := readAdopted(fs, "/meta"); err != nil || got.Epoch != epoch {
			t.Errorf("after a loss of power: epoch %d, %v, want %d", got.Epoch, err, epoch)
		}
	}
}
