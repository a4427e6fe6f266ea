package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
)

// tail is what was found after the last batch that chains.
type tail struct {
	end    cluster.LSN // of the last whole batch; 0 if there is none
	commit cluster.LSN // highest in those
	epoch  cluster.Epoch
}

// scan looks after end for whole batches of this store that are where they should
// be. Batches of a reused file's former life are not. It looks no further than what
// may have been in flight and a batch more: enough to tell.
func scan(w *window, s *segment, end cluster.LSN, store [16]byte) (t tail, err error) {
	const overlap = len(batchMagic) - 1
	limit := end + Unsynced + MaxBatch
	for at := end; at < limit; {
		step := int(min(windowStep/2, limit-at)) + overlap
		b, err := w.atMost(s.offset(at), step)
		if err != nil {
			return t, fmt.Errorf("read tail of segment at %d: %w", s.base.LSN, err)
		}
		i := bytes.Index(b, []byte(batchMagic))
		if i < 0 {
			if len(b) < step {
				return t, nil
			}
			at += cluster.LSN(len(b) - overlap)
			continue
		}
		at += cluster.LSN(i)
		found, err := w.batchHere(s, at, store)
		switch {
		case errors.As(err, &bad{}):
			at++
		case err != nil:
			return t, fmt.Errorf("read tail of segment at %d: %w", s.base.LSN, err)
		default:
			t = tail{end: found.End, commit: max(t.commit, found.Commit), epoch: max(t.epoch, found.Epoch)}
			at = found.End
		}
	}
	return t, nil
}

// batchHere is batch for one that says itself that it belongs at this LSN.
func (w *window) batchHere(s *segment, at cluster.LSN, store [16]byte) (Batch, error) {
	head, err := w.at(s.offset(at), batchHeaderLen)
	if errors.Is(err, errShort) {
		return Batch{}, bad{err}
	}
	if err != nil {
		return Batch{}, err
	}
	if cluster.LSN(binary.LittleEndian.Uint64(head[offBase:])) != at || [16]byte(head[offStore:offStore+16]) != store {
		return Batch{}, bad{ErrMismatch} // before its payload costs anything
	}
	return w.batch(s.offset(at))
}

// atMost is at for as many of the n octets as the file has.
func (w *window) atMost(off int64, n int) ([]byte, error) {
	b, err := w.at(off, n)
	if errors.Is(err, errShort) {
		return w.buf, nil // begins at off: at has just read there
	}
	return b, err
}

// judge tells damage from a torn tail. What was written and not synced when the
// power went may have reached the disk in any order, so a whole batch after a hole
// proves nothing by itself. It is damage if what is missing was durable: because
// somebody knows so, because a later batch was written when it was committed with this copy, or
// because more lies behind it than is ever in flight.
func (j *Journal) judge(mark cluster.LSN, t tail) error {
	end := j.end.LSN
	if !j.cfg.Member {
		t.commit = 0
	}
	for _, known := range []struct {
		lsn cluster.LSN
		how string
	}{
		{mark, "synced"},
		{j.cfg.Applied, "applied"},
		{j.cfg.VerifyFrom, "applied and flushed"},
		{j.cfg.KnownCommit, "committed"},
		{t.commit, "committed when a later batch was written"},
		{t.end - min(t.end, Unsynced), "synced when a later batch was written"},
	} {
		if known.lsn > end {
			return &CorruptError{At: end, Why: fmt.Errorf("the journal ends here, but was %s to %d", known.how, known.lsn)}
		}
	}
	return nil
}

// dropTail keeps what whole batches there are after the end as a cut and erases them,
// so that they can never continue a journal that is written on.
func (j *Journal) dropTail(s *segment, t tail) error {
	if t.end <= j.end.LSN {
		return nil
	}
	read := func(b []byte, at cluster.LSN) (int, error) { return len(b), readFull(s, b, at) }
	name, err := writeCut(j.cfg, segmentHead{base: j.end, commit: j.commit}, t.end, t.epoch, read)
	if err != nil {
		return err
	}
	j.cfg.Log.Warn("journal had a torn tail", "lsn", j.end.LSN, "kept", name)
	return finishCut(j.cfg, name)
}

// secure makes what was accepted durable. The page cache is not the disk: after a
// failed sync the kernel may hold octets that are not on disk and call them clean,
// so what may never have been synced is written again first.
func (j *Journal) secure(newest *segment, mark cluster.LSN) error {
	end := j.end.LSN
	from := max(newest.base.LSN, min(mark, end), end-min(end, Unsynced))
	b := make([]byte, min(end-from, windowStep))
	for from < end {
		n := min(end-from, windowStep)
		if err := readFull(newest, b[:n], from); err != nil {
			return fmt.Errorf("rewrite tail of segment at %d: %w", newest.base.LSN, err)
		}
		if _, err := newest.file.WriteAt(b[:n], newest.offset(from)); err != nil {
			return fmt.Errorf("rewrite tail of segment at %d: %w", newest.base.LSN, err)
		}
		from += n
	}
	for _, s := range j.segs {
		if err := s.sync.Sync(); err != nil {
			return err
		}
	}
	return nil
}
