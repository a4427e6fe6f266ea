package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
)

const (
	suffix          = ".snap"
	temporarySuffix = ".tmp"
)

func lsnName(lsn cluster.LSN) string { return fmt.Sprintf("%016x", uint64(lsn)) }

func fileName(lsn cluster.LSN) string { return lsnName(lsn) + suffix }

// ParseName returns the position of the snapshot that a file is by its name; false
// if it is none.
func ParseName(name string) (cluster.LSN, bool) {
	hex, ok := strings.CutSuffix(name, suffix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	return cluster.LSN(n), err == nil && fileName(cluster.LSN(n)) == name
}

// File is a snapshot by its name: nothing of it was read.
type File struct {
	Path string
	LSN  cluster.LSN
}

// List returns the snapshots in dir, the newest first; none if there is no dir.
func List(fs vfs.FS, dir string) ([]File, error) {
	names, err := fs.List(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var files []File
	for _, n := range names {
		if lsn, ok := ParseName(n); ok {
			files = append(files, File{fs.PathJoin(dir, n), lsn})
		}
	}
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(b.LSN, a.LSN) })
	return files, nil
}
