package journal

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Scan reads the batches of a journal without opening it: it changes nothing, and
// whoever has it open may go on beside it. It begins with the first batch at or
// after from. Every batch is verified, its chain included. The sequence ends where
// the newest segment has no further batch; only FS, Dir and StoreID of cfg count.
func Scan(cfg Config, from cluster.LSN) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		files, err := list(cfg)
		if err == nil && len(files.segments) == 0 {
			err = fmt.Errorf("scan journal %s: %w", cfg.Dir, os.ErrNotExist)
		}
		if err != nil {
			yield(Batch{}, err)
			return
		}
		s := scanner{cfg: cfg, from: from, yield: yield}
		for i, name := range files.segments {
			if i+1 < len(files.segments) {
				if next, _ := parseSegmentName(files.segments[i+1]); next <= from {
					continue
				}
			}
			if !s.segment(name) {
				return
			}
		}
	}
}

// Extent returns where a journal begins and ends, without opening it. Only FS, Dir and
// StoreID of cfg count; os.ErrNotExist if there is none.
func Extent(cfg Config) (low, end cluster.LSN, err error) {
	files, err := list(cfg)
	if err == nil && len(files.segments) == 0 {
		err = os.ErrNotExist
	}
	if err != nil {
		return 0, 0, fmt.Errorf("look at journal %s: %w", cfg.Dir, err)
	}
	low, _ = parseSegmentName(files.segments[0])
	end, _ = parseSegmentName(files.segments[len(files.segments)-1])
	for b, err := range Scan(cfg, end) {
		if err != nil {
			return low, end, err
		}
		end = b.End
	}
	return low, end, nil
}

type scanner struct {
	cfg   Config
	from  cluster.LSN
	yield func(Batch, error) bool
	end   cluster.Position // after the last batch; zero before the first segment
	begun bool
}

// segment yields the batches of one file and reports whether to go on.
func (s *scanner) segment(name string) bool {
	f, err := s.cfg.FS.Open(s.cfg.FS.PathJoin(s.cfg.Dir, name))
	if err != nil {
		return s.yield(Batch{}, fmt.Errorf("open segment %s: %w", name, err)) && false
	}
	defer f.Close()
	h, err := readHead(f, s.cfg.StoreID)
	if err == nil && s.begun && h.base != s.end {
		err = &CorruptError{At: s.end.LSN, Why: fmt.Errorf("the segments before end here, %s begins at %d", name, h.base.LSN)}
	}
	if err != nil {
		return s.yield(Batch{}, fmt.Errorf("scan segment %s: %w", name, err)) && false
	}
	s.begun, s.end = true, h.base
	w, seg := window{file: f}, segment{segmentHead: h}
	for {
		b, err := w.batch(seg.offset(s.end.LSN))
		if err == nil {
			if err = b.follows(s.cfg.StoreID, s.end); err != nil {
				err = bad{err}
			}
		}
		if errors.As(err, &bad{}) {
			return true
		}
		if err != nil {
			return s.yield(Batch{}, fmt.Errorf("scan segment %s: %w", name, err)) && false
		}
		s.end = b.Position()
		b.Raw = bytes.Clone(b.Raw) // the window's memory is used again
		if b.Base >= s.from && !s.yield(b, nil) {
			return false
		}
	}
}
