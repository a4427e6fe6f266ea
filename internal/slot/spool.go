package slot

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/state"
)

// spool gives files for messages on their way in, on the big disk. What a crash
// leaves is removed at the next open.
type spool struct {
	fs   vfs.FS
	dir  string
	rand io.Reader
}

const incoming = "incoming"

// Create implements state.Spool.
func (s spool) Create() (state.SpoolFile, error) {
	dir := s.fs.PathJoin(s.dir, incoming)
	if err := s.fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make spool directory: %w", err)
	}
	var id [16]byte
	if _, err := io.ReadFull(s.rand, id[:]); err != nil {
		return nil, fmt.Errorf("draw name of spool file: %w", err)
	}
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
func (f *spoolFile) Close() error {
	err := f.fs.Remove(f.path)
	if errors.Is(err, os.ErrNotExist) {
		err = nil // the slot's directory was cleared under a late holder
	}
	return errors.Join(f.File.Close(), err)
}

// clearSpool removes what an earlier process left, once. Leftovers cost only
// space, so a failure is no reason to stay away.
func (s *Slot) clearSpool() {
	if s.cleared {
		return
	}
	s.cleared = true
	if err := s.cfg.FS.RemoveAll(s.cfg.FS.PathJoin(s.cfg.Spool, incoming)); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.log.Warn("spool directory not cleared", "err", err)
	}
}
