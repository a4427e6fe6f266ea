package pack

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
)

// Config of a Set. FS, Dir and Disk are required.
type Config struct {
	FS   vfs.FS
	Dir  string // belongs to the set alone
	Disk *disk.Disk
	// PackSize is how many octets a pack should have: see Writer.Full. Default 256 MiB.
	PackSize int64
	// Random gives ids. Default crypto/rand.
	Random io.Reader
	// Decoder is for all sets of a process to share. Default: one of its own.
	Decoder *Decoder
}

// Pack is the summary of one pack.
type Pack struct {
	ID      ID
	Size    int64 // of the file, in octets
	Stored  int64 // of it, what the entries take: the sum of their Location.Size, or a little more
	Entries int
	Plain   int64 // octets of all bodies, decoded
	// Damage is set if the ends of the file are not what was written. The other
	// figures are then those of the entries that can be found.
	Damage error
}

// Set is the packs of one slot. Use Open.
type Set struct {
	cfg Config

	mu     sync.Mutex // never held during I/O
	packs  map[ID]*pinned
	files  []*pinned // whose files stay open, the one used longest ago first
	closed bool
}

// pinned is a pack with its readers.
type pinned struct {
	Pack
	refs    int
	retired bool // removed with the last reader
	file    *file
}

func (s *Set) path(name string) string { return s.cfg.FS.PathJoin(s.cfg.Dir, name) }

func withDefaults(cfg Config) (_ Config, err error) {
	if cfg.PackSize <= 0 {
		cfg.PackSize = 256 << 20
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Decoder == nil {
		cfg.Decoder, err = NewDecoder(1)
	}
	return cfg, err
}

// Packs returns the summaries of the packs in the set, by id.
func (s *Set) Packs() []Pack {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Pack, 0, len(s.packs))
	for _, p := range s.packs {
		if !p.retired {
			all = append(all, p.Pack)
		}
	}
	slices.SortFunc(all, func(a, b Pack) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Pin keeps packs readable, also when they are retired, until release is called, as
// often as wanted. ErrNoPack if one of them is gone already.
func (s *Set) Pin(ids ...ID) (release func(), err error) {
	var held []*pinned
	for _, id := range ids {
		p, err := s.pin(id)
		if err != nil {
			s.unpin(held...)
			return nil, err
		}
		held = append(held, p)
	}
	return sync.OnceFunc(func() { s.unpin(held...) }), nil
}

func (s *Set) pin(id ID) (*pinned, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("pack %v: %w", id, cluster.ErrStopped)
	}
	p := s.packs[id]
	if p == nil {
		return nil, fmt.Errorf("pack %v: %w", id, ErrNoPack)
	}
	p.refs++
	return p, nil
}

// unpin removes the files of retired packs that nobody reads any more. What cannot
// be removed is found again by Open.
func (s *Set) unpin(packs ...*pinned) {
	s.mu.Lock()
	var gone []*pinned
	for _, p := range packs {
		if p.refs--; p.retired {
			gone = s.collect(gone, p)
		}
	}
	s.mu.Unlock()
	_ = s.remove(gone)
}

// collect forgets a retired pack without readers and adds it to those to be
// removed. Called with mu held.
func (s *Set) collect(gone []*pinned, p *pinned) []*pinned {
	if p.refs > 0 || s.closed {
		return gone
	}
	delete(s.packs, p.ID)
	return append(gone, p)
}

// Retire takes packs out of the set. Their files are removed when nobody reads them
// any more, at once in most cases. That is not durable: after a loss of power they
// may be back, and Open lists them. The index must not refer to them any more,
// durably. A pack that is not in the set is no error; a file that cannot be removed is.
func (s *Set) Retire(ids ...ID) error {
	s.mu.Lock()
	var gone []*pinned
	var idle []*file
	for _, id := range ids {
		if p := s.packs[id]; p != nil {
			p.retired = true
			idle = append(idle, s.drop(p))
			gone = s.collect(gone, p)
		}
	}
	s.mu.Unlock()
	closeFiles(idle...)
	return s.remove(gone)
}

func (s *Set) remove(packs []*pinned) error {
	var errs []error
	for _, p := range packs {
		if err := s.cfg.FS.Remove(s.path(p.ID.fileName())); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove pack %v: %w", p.ID, err))
		}
	}
	return errors.Join(errs...)
}

// Close makes whatever begins later fail with cluster.ErrStopped. Bodies that are
// open can be read on; retired packs among them stay for the next Open to find. No
// Writer, Rewrite or Scrub may be at work any more.
func (s *Set) Close() {
	s.mu.Lock()
	s.closed = true
	var idle []*file
	for len(s.files) > 0 {
		idle = append(idle, s.drop(s.files[0]))
	}
	s.mu.Unlock()
	closeFiles(idle...)
}

// add puts a pack that is durable into the set.
func (s *Set) add(f footer) Pack {
	p := &pinned{Pack: Pack{ID: f.pack, Size: f.size(), Stored: f.table - fileHeaderLen, Entries: f.entries, Plain: f.plain}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packs[p.ID] = p
	return p.Pack
}

// newID draws an id that no pack of the set has.
func (s *Set) newID() (ID, error) {
	for {
		id, err := drawID(s.cfg.Random)
		if err != nil {
			return 0, err
		}
		s.mu.Lock()
		taken, closed := s.packs[id] != nil, s.closed
		s.mu.Unlock()
		if closed {
			return 0, fmt.Errorf("create pack: %w", cluster.ErrStopped)
		}
		if !taken {
			return id, nil
		}
	}
}
