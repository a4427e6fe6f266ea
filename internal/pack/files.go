package pack

import (
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// maxFiles is how many files of a set stay open between reads, the latest used ones:
// opening one takes longer than reading a small body.
const maxFiles = 8

// file is a pack's open file, shared by its readers.
type file struct {
	vfs.File
	users int
	kept  bool // it is in Set.files, and so outlives its users
}

// openShared opens the file of a pack that it pins, or finds it open. Done with
// closeShared.
func (s *Set) openShared(id ID) (*pinned, *file, error) {
	p, err := s.pin(id)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	if f := p.file; f != nil {
		f.users++
		s.touch(p)
		s.mu.Unlock()
		return p, f, nil
	}
	s.mu.Unlock()
	opened, err := s.openPath(p)
	if err != nil {
		s.unpin(p)
		return nil, nil, err
	}
	f := &file{File: opened, users: 1}
	s.mu.Lock()
	var idle *file
	if p.file == nil && !p.retired && !s.closed { // else another was faster, or it is for this one only
		p.file, f.kept = f, true
		idle = s.touch(p)
	}
	s.mu.Unlock()
	closeFiles(idle)
	return p, f, nil
}

// touch notes the use of a pack's file. It returns the file that is to be closed for
// it, if any. Called with mu held.
func (s *Set) touch(p *pinned) (idle *file) {
	for i, q := range s.files {
		if q == p {
			copy(s.files[i:], s.files[i+1:])
			s.files[len(s.files)-1] = p
			return nil
		}
	}
	s.files = append(s.files, p)
	if len(s.files) > maxFiles {
		return s.drop(s.files[0])
	}
	return nil
}

// drop keeps a pack's file open no longer than it is read. It returns the file if
// nobody does. Called with mu held.
func (s *Set) drop(p *pinned) *file {
	f := p.file
	if f == nil {
		return nil
	}
	for i, q := range s.files {
		if q == p {
			s.files = append(s.files[:i], s.files[i+1:]...)
			break
		}
	}
	p.file, f.kept = nil, false
	if f.users > 0 {
		return nil
	}
	return f
}

// closeShared ends a use of a file, and the pin of its pack.
func (s *Set) closeShared(p *pinned, f *file) {
	s.mu.Lock()
	f.users--
	if f.users > 0 || f.kept {
		f = nil
	}
	s.mu.Unlock()
	closeFiles(f)
	s.unpin(p)
}

// closeFiles closes those that are not nil.
func closeFiles(files ...*file) {
	for _, f := range files {
		if f != nil {
			_ = f.Close() // it was only read
		}
	}
}

// openFile opens the file of a pack that it pins, for one reader.
func (s *Set) openFile(id ID, opts ...vfs.OpenOption) (*pinned, vfs.File, error) {
	p, err := s.pin(id)
	if err != nil {
		return nil, nil, err
	}
	f, err := s.openPath(p, opts...)
	if err != nil {
		s.unpin(p)
		return nil, nil, err
	}
	return p, f, nil
}

func (s *Set) openPath(p *pinned, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := s.cfg.FS.Open(s.path(p.ID.fileName()), opts...)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &Damage{Pack: p.ID, Size: p.Size, Why: err}
	}
	if err != nil {
		return nil, fmt.Errorf("pack %v: %w", p.ID, err)
	}
	return f, nil
}
