package journal

import (
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
)

// recover fills j from its segment files, named in ascending order. k is what the
// durable mark says.
func (j *Journal) recover(names []string, k known) (Recovery, error) {
	unreadable, err := j.openSegments(names)
	if err != nil {
		return Recovery{}, err
	}
	var damage error // the lowest
	var last *window
	for i, s := range j.segs {
		if i > 0 {
			if damage = continues(j.end, s); damage != nil {
				break
			}
		}
		if i+1 < len(j.segs) && j.segs[i+1].base.LSN <= j.cfg.VerifyFrom {
			if damage = j.trust(s, j.segs[i+1].base); damage != nil {
				break
			}
			continue
		}
		last = &window{file: s.file}
		if err := j.walk(s, last); err != nil {
			return Recovery{}, err
		}
	}
	if damage == nil {
		damage = unreadable
	}
	if damage != nil {
		return j.damaged(damage)
	}
	newest := j.segs[len(j.segs)-1]
	tail, err := scan(last, newest, j.end.LSN, j.cfg.StoreID)
	if err != nil {
		return Recovery{}, err
	}
	if damage = j.judge(k.lsn, tail); damage != nil {
		return j.damaged(damage)
	}
	if err := j.dropTail(newest, tail); err != nil {
		return Recovery{}, err
	}
	if err := j.secure(newest, k.lsn); err != nil {
		return Recovery{}, err
	}
	if err := j.settle(known{lsn: j.end.LSN, seq: k.seq}); err != nil {
		return Recovery{}, err
	}
	rec := j.recovery()
	rec.Torn = tail.end - min(tail.end, j.end.LSN)
	return rec, nil
}

// openSegments opens every file up to the first whose header is damaged.
func (j *Journal) openSegments(names []string) (damage, err error) {
	for _, name := range names {
		base, _ := parseSegmentName(name)
		path := j.path(name)
		f, err := j.cfg.FS.OpenReadWrite(path, writeCategory)
		if err != nil {
			return nil, fmt.Errorf("open segment %s: %w", name, err)
		}
		h, err := readHead(f, j.cfg.StoreID)
		if err == nil && h.base.LSN != base {
			err = &CorruptError{Why: fmt.Errorf("segment header says %d", h.base.LSN)}
		}
		var corrupt *CorruptError
		if errors.As(err, &corrupt) && len(j.segs) > 0 {
			return &CorruptError{At: base, Why: corrupt.Why}, f.Close()
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open segment %s: %w", name, err), f.Close())
		}
		s := &segment{segmentHead: h, end: base, path: path, file: f, sync: j.cfg.Disk.File(f, path)}
		if len(j.segs) == 0 {
			j.end, j.commit = h.base, h.commit
		}
		j.segs = append(j.segs, s)
	}
	return nil, nil
}

// continues reports the damage if s does not begin where the segment before ended:
// everything below a segment's base was durable before the file had its name.
func continues(end cluster.Position, s *segment) error {
	if end.LSN != s.base.LSN {
		return &CorruptError{At: min(end.LSN, s.base.LSN), Why: fmt.Errorf("a segment ends at %d, the next begins at %d", end.LSN, s.base.LSN)}
	}
	if end.Chain != s.base.Chain || end.Epoch != s.base.Epoch {
		return &CorruptError{At: end.LSN, Why: errors.New("chain or epoch of the next segment differs")}
	}
	return nil
}

// trust accepts s without reading its batches; only their headers if an epoch
// begins among them.
func (j *Journal) trust(s *segment, next cluster.Position) error {
	if s.base.Epoch == next.Epoch {
		j.noteEpoch(s.base.Epoch, s.base)
	} else {
		chain := s.base.Chain
		for at, h := range headers(s, next.LSN) {
			if h.err != nil {
				return &CorruptError{At: at, Why: h.err}
			}
			j.noteEpoch(h.epoch, cluster.Position{LSN: at, Chain: chain})
			chain = h.chain
		}
	}
	s.end, j.end = next.LSN, next
	return nil
}

// walk accepts the batches of s that continue the journal.
func (j *Journal) walk(s *segment, w *window) error {
	s.starts = []uint32{}
	j.commit = max(j.commit, s.commit)
	for {
		b, err := w.batch(s.offset(j.end.LSN))
		if err == nil {
			if err = b.follows(j.cfg.StoreID, j.end); err != nil {
				err = bad{err}
			}
		}
		if errors.As(err, &bad{}) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read segment at %d: %w", s.base.LSN, err)
		}
		j.noteBatch(s, b)
	}
}

func (j *Journal) recovery() Recovery {
	return Recovery{Low: j.segs[0].base, End: j.end, Commit: j.commit, Epochs: j.Epochs()}
}

// damaged leaves j readable up to its end. Nothing on disk was changed.
func (j *Journal) damaged(why error) (Recovery, error) {
	for i, s := range j.segs {
		if i > 0 && s.base.LSN >= j.end.LSN { // behind the damage, or empty
			for _, rest := range j.segs[i:] {
				if err := rest.file.Close(); err != nil {
					return Recovery{}, err
				}
			}
			j.segs = j.segs[:i]
			break
		}
	}
	j.durable = j.end.LSN
	_ = j.fail(why)
	rec := j.recovery()
	rec.Damage = why
	return rec, nil
}
