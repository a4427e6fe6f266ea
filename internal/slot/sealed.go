package slot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
)

// A sealed file is a small JSON document that is replaced as a whole: a header
// line "tandemail <kind> <format> <crc32c> <length>", then the JSON, so that a
// person can read it and a damaged or truncated one is recognised (docs/format/slot.md).

const sealedFormat = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errAbsent: the file does not exist, which is no damage by itself.
var errAbsent = errors.New("file does not exist")

func sealedOctets(kind string, v any) ([]byte, error) {
	doc, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", kind, err)
	}
	doc = append(doc, '\n')
	head := sealedHead(kind, sealedFormat, crc32.Checksum(doc, castagnoli), len(doc))
	return append([]byte(head+"\n"), doc...), nil
}

func sealedHead(kind string, format int, sum uint32, length int) string {
	return fmt.Sprintf("tandemail %s %d %08x %d", kind, format, sum, length)
}

func parseSealed(kind string, b []byte, v any) error {
	head, doc, ok := bytes.Cut(b, []byte("\n"))
	var gotKind string
	var format int
	var sum uint32
	var length int
	_, err := fmt.Sscanf(string(head), "tandemail %s %d %x %d", &gotKind, &format, &sum, &length)
	if !ok || err != nil || string(head) != sealedHead(gotKind, format, sum, length) {
		return fmt.Errorf("%s: no sealed file: %w", kind, cluster.ErrDamaged)
	}
	switch {
	case gotKind != kind:
		return fmt.Errorf("%s: holds a %q: %w", kind, gotKind, cluster.ErrDamaged)
	case format > sealedFormat:
		return fmt.Errorf("%s: format %d: %w", kind, format, cluster.ErrNewer)
	case format != sealedFormat || length != len(doc) || crc32.Checksum(doc, castagnoli) != sum:
		return fmt.Errorf("%s: checksum mismatch: %w", kind, cluster.ErrDamaged)
	}
	if err := json.Unmarshal(doc, v); err != nil {
		return fmt.Errorf("%s: %w: %w", kind, err, cluster.ErrDamaged)
	}
	return nil
}

// writeSealed replaces dir/kind durably: a new file, synced, renamed, and the
// directory synced. After an error either the old or the new document is there.
func writeSealed(fs vfs.FS, dir, kind string, v any) error {
	b, err := sealedOctets(kind, v)
	if err != nil {
		return err
	}
	tmp := fs.PathJoin(dir, kind+".new")
	if err := writeSynced(fs, tmp, b); err != nil {
		return err
	}
	if err := fs.Rename(tmp, fs.PathJoin(dir, kind)); err != nil {
		return fmt.Errorf("replace %s: %w", kind, err)
	}
	return syncDir(fs, dir)
}

func writeSynced(fs vfs.FS, path string, b []byte) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", dir, err)
	}
	if err = errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// maxSealed bounds what is read of a damaged file.
const maxSealed = 1 << 20

func readSealed(fs vfs.FS, dir, kind string, v any) error {
	f, err := fs.Open(fs.PathJoin(dir, kind))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s in %s: %w", kind, dir, errAbsent)
		}
		return fmt.Errorf("open %s: %w", kind, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSealed))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("read %s: %w", kind, err)
	}
	return parseSealed(kind, b, v)
}
