package salvage

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/state"
)

// packDir is a directory of packs.
type packDir struct {
	path string
	set  *pack.Set // nil if it cannot be opened as one
}

// Keys of the temporary index beside the state's, which begin with lower-case letters.
const (
	keyBody    = 'P' // body id -> where it is in a pack
	keyAddress = 'Q' // account id -> its address, as packs say
)

func bodyKey(id mail.BodyID) []byte {
	return binary.BigEndian.AppendUint64([]byte{keyBody}, uint64(id))
}

// indexPacks notes where packs have which body.
func (w *work) indexPacks() error {
	f := filler{db: w.db, at: w.at}
	for _, dir := range w.from.packs {
		set, err := pack.Open(pack.Config{FS: w.fs, Dir: dir, Disk: disk.New(disk.Config{})})
		if err != nil {
			w.report.incomplete("packs cannot be opened: %w", err)
			continue
		}
		w.packs = append(w.packs, packDir{dir, set})
		for _, p := range set.Packs() {
			if err := w.indexPack(&f, len(w.packs)-1, p.ID); err != nil {
				return err
			}
		}
	}
	return f.commit()
}

func (w *work) indexPack(f *filler, dir int, id pack.ID) error {
	path := w.fs.PathJoin(w.packs[dir].path, id.String()+".pack")
	file, err := w.fs.Open(path)
	if err != nil {
		w.packDamage(err)
		return nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		w.packDamage(err)
		return nil
	}
	for item, err := range pack.Scan(file, info.Size(), id) {
		if err != nil {
			w.packDamage(err)
			continue
		}
		if err := f.set(bodyKey(item.Body), place{dir, item.Location}.encode()); err != nil {
			return err
		}
		for _, o := range item.Owners {
			if o.Address == "" {
				continue
			}
			if err := f.set(append([]byte{keyAddress}, o.Account[:]...), []byte(o.Address)); err != nil {
				return err
			}
		}
	}
	return nil
}

// packDamage notes a stretch that could not be read. With a state, the messages that
// it costs are named; without, nobody knows them.
func (w *work) packDamage(err error) {
	w.report.damaged(err)
	if w.at.LSN == 0 || w.hole || w.journal == nil {
		w.report.Complete = false
	}
}

// place is where a body is.
type place struct {
	dir int
	pack.Location
}

func (p place) encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(p.dir))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Pack))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Offset))
	return binary.BigEndian.AppendUint64(b, uint64(p.Size))
}

func decodePlace(b []byte) place {
	be := binary.BigEndian
	return place{int(be.Uint32(b)), pack.Location{
		Pack: pack.ID(be.Uint64(b[4:])), Offset: int64(be.Uint64(b[12:])), Size: int64(be.Uint64(b[20:])),
	}}
}

// source is an open body.
type source struct {
	io.ReaderAt
	length int64
	sum    [32]byte
	close  func() error
}

// verified reads all of it and compares the hash.
func (s *source) verified() error {
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(s, 0, s.length))
	switch {
	case err != nil:
		return err
	case n != s.length || [32]byte(h.Sum(nil)) != s.sum:
		return fmt.Errorf("hash mismatch: %w", cluster.ErrDamaged)
	}
	return nil
}

// packed opens a body that a pack has; nil if none has it.
func (w *work) packed(id mail.BodyID) (*pack.Body, error) {
	snap, err := w.db.Snapshot()
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	b, err := snap.Get(bodyKey(id))
	if err != nil || b == nil {
		return nil, err
	}
	at := decodePlace(b)
	return w.packs[at.dir].set.Body(id, at.Location)
}

// body opens a body of the state, verified, wherever it is whole.
func (w *work) body(r state.Reader, id mail.BodyID) (*source, error) {
	rec, ok, err := state.ReadBody(r, id)
	if err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("body %d is not known", id), err)
	}
	p, failed := w.packed(id)
	if p != nil {
		s := &source{p, rec.Length, rec.SHA256, p.Close}
		if failed = s.verified(); failed == nil {
			return s, nil
		}
		failed = errors.Join(failed, p.Close())
	}
	loc, ok, err := state.ReadLocation(r, id)
	if err != nil || !ok || w.journal == nil || len(loc.Chunks) == 0 {
		return nil, errors.Join(fmt.Errorf("body %d is nowhere", id), failed, err)
	}
	s := &source{w.chunks(loc.Chunks), rec.Length, rec.SHA256, func() error { return nil }}
	if err := s.verified(); err != nil {
		return nil, errors.Join(fmt.Errorf("body %d in the journal: %w", id, err), failed)
	}
	return s, nil
}

// chunks reads a body where it stands in the journal.
func (w *work) chunks(list []state.Placed) io.ReaderAt {
	sections := make([]state.Section, 0, len(list))
	for _, c := range list {
		sections = append(sections, state.Section{R: chunk{w, c.LSN}, Length: int64(c.Length)})
	}
	return state.NewContent(nil, sections, nil)
}

type chunk struct {
	*work
	at cluster.LSN
}

// ReadAt implements io.ReaderAt.
func (c chunk) ReadAt(p []byte, off int64) (int, error) { return c.journal.ReadPayloadAt(p, c.at, off) }
