package pack

import (
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
)

// source is a pack file that somebody goes through.
type source struct {
	win  *window
	dec  *Decoder
	id   ID
	size int64
	end  int64 // of the entries, if the footer is whole; else of the file
	foot footer
}

// whole reports that the footer can be relied on.
func (s *source) whole() bool { return s.foot.table > 0 }

// openSource reads both ends of the pack that id's file should hold. Why is what is
// wrong with them; the rest may be in order.
func openSource(f vfs.File, id ID, d *Decoder) (src *source, why, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	src = &source{win: &window{r: f, step: fileHeaderLen}, dec: d, id: id, size: info.Size(), end: info.Size()}
	why = errors.Join(src.readHeader(), src.readFooter())
	if errors.Is(why, cluster.ErrNewer) {
		return nil, nil, why
	}
	src.win.step = int(min(windowStep, src.size))
	return src, why, nil
}

func (s *source) readHeader() error {
	b, err := s.win.at(0, fileHeaderLen)
	if err != nil {
		return fmt.Errorf("pack header: %w", err)
	}
	id, err := parseFileHeader(b)
	if err == nil && id != s.id {
		err = fmt.Errorf("header of pack %v", id)
	}
	return err
}

func (s *source) readFooter() error {
	if s.size < fileHeaderLen+footerLen {
		return errors.New("pack is cut short")
	}
	b, err := s.win.at(s.size-footerLen, footerLen)
	if err != nil {
		return fmt.Errorf("pack footer: %w", err)
	}
	f, err := parseFooter(b, s.size)
	if err == nil && f.pack != s.id {
		err = fmt.Errorf("footer of pack %v", f.pack)
	}
	if err != nil {
		return err
	}
	s.foot, s.end = f, f.table
	return nil
}

// contents returns what is in the pack, by the table of contents, or, if that is
// damaged, by looking. Holes are where something else may have been.
func (s *source) contents() (records []record, damage error, holes []error, err error) {
	damage = errors.New("no footer that says where the table of contents is")
	if s.whole() {
		var b []byte
		if b, damage = s.win.at(s.end, int(tableSize(s.foot.entries))); damage == nil {
			records, damage = parseTable(b, s.foot)
		}
		s.win.buf = nil // as large as the table
	}
	if damage == nil {
		return records, nil, nil, nil
	}
	damage = &Damage{Pack: s.id, Offset: s.end, Size: s.size - s.end, Why: damage}
	for r, err := range s.scanRecords() {
		switch {
		case errors.Is(err, cluster.ErrNewer):
			return nil, nil, nil, err
		case err != nil:
			holes = append(holes, err)
		default:
			records = append(records, r)
		}
	}
	return records, damage, holes, nil
}

// scanRecords looks for the entries.
func (s *source) scanRecords() iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		n := 0
		for w, err := range s.walk() {
			if err != nil {
				if !yield(record{}, err) {
					return
				}
				continue
			}
			end, err := w.end()
			if err != nil {
				continue // the next turn says so
			}
			if n++; n > MaxEntries {
				yield(record{}, &Damage{Pack: s.id, Offset: w.at, Size: s.end - w.at, Why: errors.New("more entries than a pack can have")})
				return
			}
			r := record{body: w.head.Body, offset: w.at, size: end - w.at, plain: w.head.Length, account: w.head.Account()}
			if !yield(r, nil) {
				return
			}
		}
	}
}
