package pack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Item is a body that Scan found, with what the pack says of it.
type Item struct {
	Entry
	Location
	// Octets gives the plain octets. At the end it gives io.EOF only if all had the
	// right hash, else, as soon as something is wrong, a *Damage. It is good until the
	// next turn, and need not be read.
	Octets io.Reader
}

// Scan reads one pack file forwards: for whoever has nothing else. The id is that in
// the file's name, 0 if it has none; it matters only if both ends of the file are
// damaged. Scan yields each entry that can be found, in
// order, and a *Damage for each stretch that holds none, after which it goes on. Any
// other error is the last: cluster.ErrNewer, or that nothing in r is of a pack.
func Scan(r io.ReaderAt, size int64, id ID) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		d, err := NewDecoder(1)
		if err != nil {
			yield(Item{}, err)
			return
		}
		s := &source{win: &window{r: r, step: int(min(windowStep, size))}, dec: d, id: id, size: size, end: size}
		if s.id, err = s.guess(); err != nil {
			yield(Item{}, err)
			return
		}
		why := errors.Join(s.readHeader(), s.readFooter())
		if why != nil && (!yield(Item{}, damaged(why, Damage{Pack: s.id})) || errors.Is(why, cluster.ErrNewer)) {
			return
		}
		for w, err := range s.walk() {
			if err != nil {
				if !yield(Item{}, err) {
					return
				}
				continue
			}
			if !yield(s.item(w), nil) {
				return
			}
		}
	}
}

func (s *source) item(w *walker) Item {
	at := Location{Pack: s.id, Offset: w.at}
	probe := *w
	if end, err := probe.end(); err == nil {
		at.Size = end - w.at
	}
	return Item{Entry: w.head.Entry, Location: at, Octets: &bodyReader{walker: w}}
}

// guess finds out which pack this is: by its ends, its name, or else by the first
// entry. Only that last way could be led astray by a message that looks like an entry.
func (s *source) guess() (ID, error) {
	if b, err := s.win.at(0, fileHeaderLen); err == nil {
		if id, err := parseFileHeader(b); err == nil {
			return id, nil
		}
	}
	if b, err := s.win.at(max(0, s.size-footerLen), footerLen); err == nil {
		if f, err := parseFooter(b, s.size); err == nil {
			return f.pack, nil
		}
	}
	if s.id != 0 {
		return s.id, nil
	}
	for at := int64(0); at < s.size; at++ {
		b, err := s.win.at(at, int(min(windowStep, s.size-at)))
		if err != nil {
			at += sector - 1 - at%sector
			continue
		}
		i := bytes.Index(b, []byte(entryMagic))
		if i < 0 {
			at += int64(max(0, len(b)-len(entryMagic)))
			continue
		}
		at += int64(i)
		if h, _, err := s.win.header(at); err == nil {
			return h.pack, nil
		}
	}
	return 0, fmt.Errorf("no entry of a pack in %d octets: %w", s.size, cluster.ErrDamaged)
}

// bodyReader reads the plain octets of an entry, front to back.
type bodyReader struct {
	walker *walker
	plain  []byte
	err    error
}

// Read implements io.Reader.
func (b *bodyReader) Read(p []byte) (int, error) {
	for len(b.plain) == 0 && b.err == nil && len(p) > 0 {
		_, b.plain, b.err = b.walker.step()
		if b.err != nil && !errors.Is(b.err, io.EOF) {
			b.err = b.walker.damage(b.err)
		}
	}
	if len(b.plain) == 0 {
		return 0, b.err
	}
	n := copy(p, b.plain)
	b.plain = b.plain[n:]
	return n, nil
}
