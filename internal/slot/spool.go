package slot

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/state"
)

// spool gives files for messages on their way in, on the big disk. What a crash
// leaves is removed at the next open.
type spool struct {
	fs  vfs.FS
	dir string
}

const incoming = "incoming"

// Create implements state.Spool.
func (s spool) Create() (state.SpoolFile, error) {
	dir := s.fs.PathJoin(s.dir, incoming)
	if err := s.fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make spool directory: %w", err)
	}
	var id [16]byte
	rand.Read(id[:]) // a name only; it never fails
	path := s.fs.PathJoin(dir, hex.EncodeToString(id[:]))
	f, err := s.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("create spool file: %w", err)
	}
	return &spoolFile{f, s.fs, path}, nil
}

type spoolFile struct {
	vfs.File
	fs   vfs.FS
	path string
}

// Close removes the file.
func (f *spoolFile) Close() error { return errors.Join(f.File.Close(), f.fs.Remove(f.path)) }

// clearSpool removes what an earlier run left.
func clearSpool(fs vfs.FS, dir string) error {
	if err := fs.RemoveAll(fs.PathJoin(dir, incoming)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("clear spool directory: %w", err)
	}
	return nil
}
