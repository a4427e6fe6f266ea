package journal

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Recovery is what Open found.
type Recovery struct {
	Low, End cluster.Position
	// Commit is the highest commit LSN in the journal: apply no further.
	Commit cluster.LSN
	Epochs []EpochStart
	// Torn is how many octets of whole batches were dropped after End, because the
	// batches before them never became durable. They are kept as a cut.
	Torn cluster.LSN
	// Damage is set if octets that were durable cannot be read back. The journal can
	// then be read up to End and not written.
	Damage error
}

// Create makes an empty journal that begins at start: the zero Position for a new
// store, or where a reseed's copy of the index ends. It is durable when Create
// returns. A directory that has segments is refused with an error that wraps os.ErrExist.
func Create(cfg Config, start cluster.Position) (*Journal, error) {
	cfg = withDefaults(cfg)
	if err := cfg.FS.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create journal %s: %w", cfg.Dir, err)
	}
	files, err := list(cfg)
	if err != nil {
		return nil, err
	}
	if len(files.segments) > 0 {
		return nil, fmt.Errorf("create journal %s: it has %d segments: %w", cfg.Dir, len(files.segments), os.ErrExist)
	}
	for _, name := range slices.Concat(files.spares, files.temporary, files.cutting, files.mark) {
		if err := cfg.FS.Remove(cfg.FS.PathJoin(cfg.Dir, name)); err != nil {
			return nil, fmt.Errorf("create journal %s: remove %s: %w", cfg.Dir, name, err)
		}
	}
	spare := cfg.FS.PathJoin(cfg.Dir, sparePrefix+"0")
	if err := cfg.makeSpare(spare, segmentHeaderLen+cfg.capacity(start.LSN), func() error { return nil }); err != nil {
		return nil, fmt.Errorf("create journal %s: %w", cfg.Dir, err)
	}
	s, err := newSegment(cfg, segmentHead{base: start, commit: start.LSN}, spare)
	if err != nil {
		return nil, fmt.Errorf("create journal %s: %w", cfg.Dir, err)
	}
	j := &Journal{cfg: cfg, segs: []*segment{s}, end: start, commit: start.LSN, io: make(chan struct{}, 1), pins: map[*cluster.LSN]struct{}{}}
	if err := j.settle(known{lsn: start.LSN}); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// Open recovers the journal in cfg.Dir. It accepts batches that chain, drops a torn
// tail, and makes everything it accepted durable before it returns. Damage is a
// result and no error, unless nothing at all can be read. A directory without a
// journal gives os.ErrNotExist, files of a newer release cluster.ErrNewer.
func Open(cfg Config) (*Journal, Recovery, error) {
	cfg = withDefaults(cfg)
	files, err := list(cfg)
	if err != nil {
		return nil, Recovery{}, err
	}
	known, err := readMark(cfg)
	if err != nil {
		return nil, Recovery{}, fmt.Errorf("open journal %s: %w", cfg.Dir, err)
	}
	if len(files.segments) == 0 {
		err := os.ErrNotExist
		if known.found {
			err = &CorruptError{At: known.lsn, Why: errors.New("there is a durable mark and no segment")}
		}
		return nil, Recovery{}, fmt.Errorf("open journal %s: %w", cfg.Dir, err)
	}
	if files, err = tidyUp(cfg, files, &known); err != nil {
		return nil, Recovery{}, fmt.Errorf("open journal %s: %w", cfg.Dir, err)
	}
	j := &Journal{cfg: cfg, io: make(chan struct{}, 1), pins: map[*cluster.LSN]struct{}{}}
	for _, name := range files.spares {
		j.spares = append(j.spares, j.path(name))
		n := 0
		_, _ = fmt.Sscanf(name, sparePrefix+"%d", &n) // a strange name takes no number
		j.spareNo = max(j.spareNo, n)
	}
	rec, err := j.recover(files.segments, known)
	if err != nil {
		return nil, rec, errors.Join(fmt.Errorf("open journal %s: %w", cfg.Dir, err), j.Close())
	}
	return j, rec, nil
}

// settle opens the mark and makes the directory durable; then the end is.
func (j *Journal) settle(k known) (err error) {
	if j.mark, err = openMark(j.cfg, k); err != nil {
		return err
	}
	for _, dir := range []string{j.cfg.Dir, j.cfg.FS.PathDir(j.cfg.Dir)} {
		if err := j.cfg.syncDir(dir); err != nil {
			return err
		}
	}
	j.durable = j.end.LSN
	return nil
}

// files are the names in a journal's directory by meaning; kept cuts and files
// that are not ours are none of them.
type files struct {
	segments                         []string // ascending by base
	spares, temporary, cutting, mark []string
}

func list(cfg Config) (f files, err error) {
	names, err := cfg.FS.List(cfg.Dir)
	if err != nil {
		return f, fmt.Errorf("list journal %s: %w", cfg.Dir, err)
	}
	slices.Sort(names)
	for _, n := range names {
		_, isSegment := parseSegmentName(n)
		switch {
		case isSegment:
			f.segments = append(f.segments, n)
		case strings.HasPrefix(n, sparePrefix):
			f.spares = append(f.spares, n)
		case strings.HasSuffix(n, temporarySuffix):
			f.temporary = append(f.temporary, n)
		case isCutting(n):
			f.cutting = append(f.cutting, n)
		case n == markName:
			f.mark = append(f.mark, n)
		}
	}
	return f, nil
}

// tidyUp finishes what a crash interrupted and deletes what has no use.
func tidyUp(cfg Config, f files, k *known) (files, error) {
	useless := f.temporary
	if len(f.spares) > maxSpares {
		useless = slices.Concat(useless, f.spares[maxSpares:])
	}
	for _, name := range useless {
		if err := cfg.FS.Remove(cfg.FS.PathJoin(cfg.Dir, name)); err != nil {
			return f, fmt.Errorf("remove %s: %w", name, err)
		}
	}
	for _, name := range f.cutting {
		name = strings.TrimSuffix(name, cuttingSuffix)
		if err := lowerMark(cfg, name, k); err != nil {
			return f, err
		}
		if err := finishCut(cfg, name); err != nil {
			return f, err
		}
	}
	return list(cfg)
}

// lowerMark does for an interrupted cut what TruncateTo does before it erases.
func lowerMark(cfg Config, cut string, k *known) error {
	from, _, err := parseCutName(cut)
	if err != nil || k.lsn <= from {
		return err
	}
	k.lsn = from
	m, err := openMark(cfg, *k)
	if err != nil {
		return err
	}
	k.seq = m.seq
	return m.close()
}

func notExist(err error) bool { return errors.Is(err, os.ErrNotExist) }
