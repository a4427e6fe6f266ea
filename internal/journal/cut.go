package journal

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tandemail/tandemail/internal/cluster"
)

// A cut is a tail that left the journal, kept beside it in a file with the format
// of a segment. The file appears, durable, with the suffix that says the octets
// are still to be removed; Open finishes what a crash left undone.
const (
	cutSuffix       = ".cut"
	cuttingSuffix   = ".cutting"
	temporarySuffix = ".tmp"
	sparePrefix     = "spare-"
)

// TruncateTo drops everything from the batch boundary end on. What is dropped stays
// beside the journal in a file named for its range and epoch. The truncation is
// durable when TruncateTo returns; a crash before leaves the old journal or the new
// one. ErrTrimmed, ErrBeyond and ErrBoundary change nothing, nor does a full disk
// (cluster.ErrFull); other errors are final.
func (j *Journal) TruncateTo(end cluster.LSN) error {
	if _, err := j.boundary(end); err != nil { // also loads the segment's index
		return fmt.Errorf("truncate journal: %w", err)
	}
	from, err := j.PositionAt(end)
	if err != nil {
		return fmt.Errorf("truncate journal: %w", err)
	}
	j.mu.Lock()
	to, epoch, commit := j.end.LSN, j.end.Epoch, j.commit
	if j.err != nil || end == to || j.busy {
		defer j.mu.Unlock()
		if j.err == nil && j.busy {
			return fmt.Errorf("truncate journal: %w", ErrBusy)
		}
		return j.err
	}
	j.busy = true
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		j.busy = false
		j.mu.Unlock()
	}()
	name, err := writeCut(j.cfg, segmentHead{base: from, commit: min(commit, end)}, to, epoch, j.read)
	if err != nil {
		if noSpace(err) {
			return fmt.Errorf("truncate journal: %w: %w", cluster.ErrFull, err)
		}
		return j.fail(err)
	}
	if err := j.forget(from); err != nil {
		return j.fail(err)
	}
	if err := finishCut(j.cfg, name); err != nil {
		return j.fail(err)
	}
	j.cfg.Log.Info("journal truncated", "lsn", end, "from", to, "kept", name)
	return nil
}

// forget takes everything after p out of memory and lowers the mark, before any
// octet is removed.
func (j *Journal) forget(p cluster.Position) error {
	j.io <- struct{}{}
	defer func() { <-j.io }()
	j.mu.Lock()
	j.cuts++
	n := len(j.segs)
	for n > 1 && j.segs[n-1].base.LSN > p.LSN {
		n--
	}
	gone := j.segs[n:]
	j.segs = append([]*segment(nil), j.segs[:n]...)
	var idle []*segment
	for _, s := range gone {
		if s.retired = true; s.refs == 0 {
			idle = append(idle, s)
		}
	}
	s := j.segs[n-1]
	s.end = p.LSN
	kept := 0
	for kept < len(s.starts) && s.base.LSN+cluster.LSN(s.starts[kept]) < p.LSN {
		kept++
	}
	s.starts = append([]uint32(nil), s.starts[:kept]...) // readers may hold the old array
	for len(j.epochs) > 0 && j.epochs[len(j.epochs)-1].LSN >= p.LSN {
		j.epochs = j.epochs[:len(j.epochs)-1]
	}
	for len(j.recent) > 0 && j.recent[len(j.recent)-1].LSN > p.LSN {
		j.recent = j.recent[:len(j.recent)-1]
	}
	j.end, j.durable, j.commit = p, min(j.durable, p.LSN), min(j.commit, p.LSN)
	lower := j.mark.lsn > p.LSN
	j.mu.Unlock()

	var err error
	for _, s := range idle {
		err = errors.Join(err, s.file.Close())
	}
	if lower {
		err = errors.Join(err, j.mark.write(p.LSN), j.mark.write(p.LSN), j.cfg.Disk.File(j.mark.file, markName).Sync())
	}
	return err
}

// readOctets fills the start of b with octets from an LSN on, at least one of them.
type readOctets func(b []byte, at cluster.LSN) (int, error)

// read is the readOctets of what is in the journal.
func (j *Journal) read(b []byte, at cluster.LSN) (int, error) {
	s, end, _, err := j.acquire(at, false)
	if err != nil {
		return 0, err
	}
	defer j.release(s)
	b = b[:min(cluster.LSN(len(b)), end-at)]
	return len(b), readFull(s, b, at)
}

// writeCut copies [head.base, to) to a file and makes it the intent to remove them.
func writeCut(cfg Config, head segmentHead, to cluster.LSN, epoch cluster.Epoch, read readOctets) (name string, err error) {
	from := head.base.LSN
	tmp := cfg.FS.PathJoin(cfg.Dir, "cut"+temporarySuffix)
	f, err := cfg.FS.OpenReadWrite(tmp, writeCategory)
	if err != nil {
		return "", fmt.Errorf("keep cut at %d: %w", from, err)
	}
	_, err = f.WriteAt(head.encode(cfg.StoreID), 0)
	b := make([]byte, windowStep)
	for at := from; err == nil && at < to; {
		n := 0
		if n, err = read(b[:min(cluster.LSN(len(b)), to-at)], at); err == nil {
			_, err = f.WriteAt(b[:n], segmentHeaderLen+int64(at-from))
			at += cluster.LSN(n)
		}
	}
	if err == nil {
		err = cfg.Disk.File(f, tmp).Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("keep cut at %d: %w", from, err), cfg.FS.Remove(tmp))
	}
	name = cutName(from, to, epoch)
	if err := cfg.FS.Rename(tmp, cfg.FS.PathJoin(cfg.Dir, name+cuttingSuffix)); err != nil {
		return "", fmt.Errorf("name cut at %d: %w", from, err)
	}
	if err := cfg.syncDir(cfg.Dir); err != nil {
		return "", fmt.Errorf("name cut at %d: %v", from, err)
	}
	return name, nil
}

func cutName(from, to cluster.LSN, e cluster.Epoch) string {
	return fmt.Sprintf("%016x-%016x-e%d", uint64(from), uint64(to), uint64(e))
}

// parseCutName returns the range in a cut's name, its suffix removed.
func parseCutName(name string) (from, to cluster.LSN, err error) {
	parts := strings.Split(name, "-")
	if len(parts) != 3 {
		return 0, 0, fmt.Errorf("cut %q: not a range and an epoch", name)
	}
	a, err1 := strconv.ParseUint(parts[0], 16, 64)
	b, err2 := strconv.ParseUint(parts[1], 16, 64)
	if err := errors.Join(err1, err2); err != nil || a >= b {
		return 0, 0, fmt.Errorf("cut %q: no range", name)
	}
	return cluster.LSN(a), cluster.LSN(b), nil
}

func isCutting(name string) bool {
	name, ok := strings.CutSuffix(name, cuttingSuffix)
	_, _, err := parseCutName(name)
	return ok && err == nil
}

// finishCut removes the octets of a kept cut from the segment files and gives the
// cut its last name. It may be repeated after a crash.
func finishCut(cfg Config, name string) error {
	from, to, err := parseCutName(name)
	if err != nil {
		return err
	}
	names, err := cfg.FS.List(cfg.Dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", cfg.Dir, err)
	}
	var holder cluster.LSN // base of the segment that holds from
	found := false
	for _, n := range names {
		base, ok := parseSegmentName(n)
		switch {
		case !ok:
		case base > from:
			if err := cfg.FS.Remove(cfg.FS.PathJoin(cfg.Dir, n)); err != nil {
				return fmt.Errorf("remove cut segment %s: %w", n, err)
			}
		case !found || base > holder:
			holder, found = base, true
		}
	}
	if found {
		if err := zero(cfg, holder, from, to); err != nil {
			return fmt.Errorf("erase cut octets at %d: %w", from, err)
		}
	}
	path := cfg.FS.PathJoin(cfg.Dir, name)
	if err := cfg.syncDir(cfg.Dir); err != nil {
		return err
	}
	if err := cfg.FS.Rename(path+cuttingSuffix, path+cutSuffix); err != nil {
		return fmt.Errorf("name cut at %d: %w", from, err)
	}
	return cfg.syncDir(cfg.Dir)
}

// zero overwrites [from, to), as far as the file goes, so that no batch there can
// ever be taken for a continuation.
func zero(cfg Config, base, from, to cluster.LSN) error {
	f, err := cfg.FS.OpenReadWrite(cfg.FS.PathJoin(cfg.Dir, segmentName(base)), writeCategory)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	off := segmentHeaderLen + int64(from-base)
	end := min(segmentHeaderLen+int64(to-base), info.Size())
	blank := make([]byte, windowStep)
	for off < end && err == nil {
		n := min(end-off, windowStep)
		_, err = f.WriteAt(blank[:n], off)
		off += n
	}
	if err == nil {
		err = cfg.Disk.File(f, segmentName(base)).Sync()
	}
	return errors.Join(err, f.Close())
}
