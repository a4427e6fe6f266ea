package pack

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"github.com/tandemail/tandemail/internal/cluster"
)

// sector is the smallest piece of a disk that can be unreadable.
const sector = 4096

// walk goes forwards through the entries and yields each at its first frame; a
// *Damage for each stretch that holds none, and after an entry whose end cannot be
// told; cluster.ErrNewer, and then no more, for one that a newer release wrote.
func (s *source) walk() iter.Seq2[*walker, error] {
	return func(yield func(*walker, error) bool) {
		at := int64(fileHeaderLen)
		for at < s.end {
			w, err := s.entry(at)
			if err != nil {
				if !s.whole() && s.tableAt(at) {
					return
				}
				next := s.search(at + 1)
				err = damaged(err, Damage{Pack: s.id, Offset: at, Size: next - at})
				if !yield(nil, err) || errors.Is(err, cluster.ErrNewer) {
					return
				}
				at = next
				continue
			}
			probe := *w
			end, err := probe.end()
			if err == nil && end > s.end {
				err = errShort
			}
			if !errors.Is(err, errVoid) && !yield(w, nil) {
				return
			}
			if err != nil && !errors.Is(err, errVoid) {
				end = s.search(probe.next + 1)
				err = damaged(err, Damage{Pack: s.id, Body: w.head.Body, Offset: at, Size: end - at})
				if !yield(nil, err) || errors.Is(err, cluster.ErrNewer) {
					return
				}
			}
			at = end
		}
		if !s.whole() {
			yield(nil, &Damage{Pack: s.id, Offset: at, Why: errors.New("pack ends without a table of contents")})
		}
	}
}

// entry is the entry at a place, before its first frame.
func (s *source) entry(at int64) (*walker, error) {
	h, _, err := s.win.header(at)
	switch {
	case err != nil:
		return nil, err
	case h.pack != s.id:
		return nil, fmt.Errorf("entry of pack %v", h.pack)
	case h.minimum() > s.end-at:
		return nil, errShort
	}
	return newWalker(s.win, s.dec, h, at), nil
}

func (s *source) tableAt(at int64) bool {
	mark := s.mark(tableMagic)
	b, err := s.win.at(at, len(mark))
	return err == nil && bytes.Equal(b, mark)
}

// mark is how something that belongs to this pack begins.
func (s *source) mark(magic string) []byte {
	return le.AppendUint64([]byte(magic), uint64(s.id))
}

// search returns where the next entry, or the table of contents, begins, from a
// place on; s.end if there is none.
func (s *source) search(from int64) int64 {
	entry, table := s.mark(entryMagic), s.mark(tableMagic)
	for from < s.end {
		b, err := s.win.at(from, int(min(windowStep, s.end-from)))
		if err != nil {
			b, err = s.win.at(from, int(min(sector-from%sector, s.end-from)))
		}
		if err != nil {
			from += sector - from%sector
			continue
		}
		if i := firstOf(b, entry, table); i >= 0 {
			return from + int64(i)
		}
		from += int64(max(1, len(b)-len(entry)+1))
	}
	return s.end
}

func firstOf(b, x, y []byte) int {
	i := bytes.Index(b, x)
	if i < 0 {
		return bytes.Index(b, y)
	}
	if j := bytes.Index(b[:i], y); j >= 0 {
		return j
	}
	return i
}
