package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Remains is a journal in whatever state, for whoever has nothing else: it is only
// read, nothing of it is believed but what has its checksum, and damage ends nothing.
// One goroutine, but for ReadPayloadAt.
type Remains struct {
	cfg      Config
	segments []segment // ascending; of each only base, path and file
	sizes    []int64   // of the files
	mark     cluster.LSN
	known    bool // StoreID
}

// OpenRemains opens what there is of a journal in dir, of whatever store. Without a
// segment it gives os.ErrNotExist.
func OpenRemains(fs vfs.FS, dir string) (*Remains, error) {
	r := &Remains{cfg: Config{FS: fs, Dir: dir}}
	files, err := list(r.cfg)
	if err != nil {
		return nil, err
	}
	if len(files.segments) == 0 {
		return nil, fmt.Errorf("journal %s: no segment: %w", dir, os.ErrNotExist)
	}
	if k, err := readMark(r.cfg); err == nil {
		r.mark = k.lsn
	}
	for _, name := range files.segments {
		if err := r.open(name); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

func (r *Remains) open(name string) error {
	base, _ := parseSegmentName(name)
	return r.openAt(name, base)
}

func (r *Remains) openAt(name string, base cluster.LSN) error {
	path := r.cfg.FS.PathJoin(r.cfg.Dir, name)
	f, err := r.cfg.FS.Open(path)
	if err != nil {
		return fmt.Errorf("open segment %s: %w", name, err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open segment %s: %w", name, err), f.Close())
	}
	r.segments = append(r.segments, segment{segmentHead: segmentHead{base: cluster.Position{LSN: base}}, path: path, file: f})
	r.sizes = append(r.sizes, info.Size())
	b := make([]byte, segmentUsed)
	if n, _ := f.ReadAt(b, 0); n < len(b) || r.known {
		return nil
	}
	if _, err := parseSegmentHead(b, [16]byte(b[segStore:segStore+16])); err == nil {
		r.cfg.StoreID, r.known = [16]byte(b[segStore:segStore+16]), true
	}
	return nil
}

// StoreID is the store that the journal is of; false if nothing tells.
func (r *Remains) StoreID() ([16]byte, bool) { return r.cfg.StoreID, r.known }

// Low is where the oldest segment begins.
func (r *Remains) Low() cluster.LSN { return r.segments[0].base.LSN }

// Batches yields every batch that is whole, ascending, and a *CorruptError for each
// stretch that holds none and once held some, after which it goes on. A batch that
// does not continue the one before, chain included, comes after such an error.
// cluster.ErrNewer is the last.
func (r *Remains) Batches() iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		g := gleaner{Remains: r, yield: yield}
		for i := range r.segments {
			if !g.segment(i) {
				return
			}
		}
		if known := max(r.mark, r.segments[len(r.segments)-1].base.LSN); g.end.LSN < known {
			yield(Batch{}, &CorruptError{At: g.end.LSN, Why: fmt.Errorf("what was durable up to %d is not here", known)})
		}
	}
}

// gleaner is one walk over the remains.
type gleaner struct {
	*Remains
	yield func(Batch, error) bool
	end   cluster.Position // after the last batch
	begun bool
}

// segment yields the batches of one file and reports whether to go on.
func (g *gleaner) segment(i int) bool {
	s := &g.segments[i]
	limit := g.sizes[i]
	if i+1 < len(g.segments) {
		limit = min(limit, s.offset(g.segments[i+1].base.LSN))
	}
	w := &window{file: s.file}
	for off := int64(segmentHeaderLen); off < limit; {
		b, next, err := g.next(w, s, off, limit)
		if errors.Is(err, cluster.ErrNewer) {
			return g.yield(Batch{}, err) && false
		}
		if err != nil { // no batch from here on; what follows tells whether there was one
			return true
		}
		if why := g.breaks(b, s); why != nil && !g.yield(Batch{}, &CorruptError{At: g.end.LSN, Why: why}) {
			return false
		}
		g.begun, g.end = true, b.Position()
		if !g.yield(b, nil) {
			return false
		}
		off = next
	}
	return true
}

// breaks says why b does not continue what was yielded, nil if it does.
func (g *gleaner) breaks(b Batch, s *segment) error {
	switch {
	case !g.begun && b.Base == g.Low():
		if b.Base > 0 { // trimmed below; the chain there is in the header, if at all
			return nil
		}
		return wrapped(b.follows(g.cfg.StoreID, cluster.Position{}))
	case !g.begun:
		g.end.LSN = s.base.LSN
		return fmt.Errorf("the first whole batch is at %d", b.Base)
	case b.Base != g.end.LSN:
		return fmt.Errorf("the next whole batch is at %d", b.Base)
	}
	return wrapped(b.follows(g.cfg.StoreID, g.end))
}

func wrapped(err error) error {
	if err != nil {
		return fmt.Errorf("another history follows: %w", err)
	}
	return nil
}

// next finds the first whole batch in [off, limit) that belongs where it is, and
// where the one after it may be.
func (g *gleaner) next(w *window, s *segment, off, limit int64) (b Batch, next int64, err error) {
	for off < limit {
		b, err := w.batch(off)
		if errors.Is(err, cluster.ErrNewer) {
			return b, 0, err
		}
		if err == nil && s.offset(b.Base) == off && off+int64(len(b.Raw)) <= limit && g.ours(b) {
			next := off + int64(len(b.Raw))
			b.Raw = bytes.Clone(b.Raw) // the window's memory is used again
			return b, next, nil
		}
		if off, err = g.search(w, off+1, limit); err != nil {
			return b, 0, err
		}
	}
	return b, 0, io.EOF
}

func (g *gleaner) ours(b Batch) bool {
	store := [16]byte(b.Raw[offStore : offStore+16])
	if !g.known {
		g.cfg.StoreID, g.known = store, true
	}
	return store == g.cfg.StoreID
}

// sector is the smallest piece of a disk that can be unreadable.
const sector = 4096

// search returns where the next batch may begin, from off on; io.EOF if nowhere.
func (g *gleaner) search(w *window, off, limit int64) (int64, error) {
	for off+batchHeaderLen <= limit {
		n := int(min(windowStep, limit-off))
		b, err := w.at(off, n)
		if err != nil { // what cannot be read may be further on
			n = int(min(sector-off%sector, limit-off))
			if b, err = w.at(off, n); err != nil {
				off += int64(n)
				continue
			}
		}
		if i := bytes.Index(b, []byte(batchMagic)); i >= 0 {
			return off + int64(i), nil
		}
		off += int64(max(1, n-len(batchMagic)+1))
	}
	return 0, io.EOF
}

// ReadPayloadAt reads len(p) octets of the payload of the record at an LSN, from
// offset off, like io.ReaderAt. Nothing is verified but that a record begins there:
// compare hashes. Any goroutine may call it.
func (r *Remains) ReadPayloadAt(p []byte, at cluster.LSN, off int64) (int, error) {
	i := len(r.segments) - 1
	for i > 0 && r.segments[i].base.LSN > at {
		i--
	}
	s := &r.segments[i]
	var b [recordHeaderLen]byte
	if at < s.base.LSN {
		return 0, fmt.Errorf("record at %d: %w", at, ErrTrimmed)
	}
	if err := readFull(s, b[:], at); err != nil {
		return 0, fmt.Errorf("record at %d: %w", at, err)
	}
	h := parseRecordHeader(b[:])
	if h.Kind != KindBodyChunk || off < 0 || off > int64(h.Length) || h.Length > MaxChunk {
		return 0, &CorruptError{At: at, Why: errors.New("no body chunk begins here")}
	}
	var end error
	if rest := int64(h.Length) - off; int64(len(p)) > rest {
		p, end = p[:rest], io.EOF
	}
	if err := readFull(s, p, at+recordHeaderLen+cluster.LSN(off)); err != nil {
		return 0, fmt.Errorf("record at %d: %w", at, err)
	}
	return len(p), end
}

// Close closes the files.
func (r *Remains) Close() error {
	var err error
	for _, s := range r.segments {
		err = errors.Join(err, s.file.Close())
	}
	return err
}
