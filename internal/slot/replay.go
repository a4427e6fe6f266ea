package slot

import (
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
)

// maxDeaths is how often the process may have died applying the same operation
// before the slot is quarantined.
const maxDeaths = 2

// errQuarantined: the process died again and again at the same place. The batches
// before it are applied.
var errQuarantined = fmt.Errorf("%w: quarantined", errOperation)

// replay is the first part of applying after an open: what was in the journal
// already. If the last process died of one of its operations this one would too,
// so a small file says which is being applied. It is not synced: it has to
// outlive the process, not the power. After a clean close there is nothing to
// replay, and afterwards applying costs nothing more.
type replay struct {
	fs    vfs.FS
	dir   string
	end   cluster.LSN // of the journal at open; beyond it everything is new
	found applying    // by this open
	file  vfs.File    // nil before the first operation and after the last
	over  bool
	stuck bool // quarantined: the file stays
}

// applying is the file's document. Its length never changes.
type applying struct {
	At     string `json:"lsn"` // 20 decimal digits
	Deaths int    `json:"deaths"`
}

const applyingFile = "applying"

func newReplay(fs vfs.FS, dir string, end cluster.LSN) (*replay, error) {
	r := &replay{fs: fs, dir: dir, end: end}
	err := readSealed(fs, dir, applyingFile, &r.found)
	if errors.Is(err, cluster.ErrDamaged) || errors.Is(err, errAbsent) {
		err = nil // half written by a loss of power, which is no bad operation
		r.found = applying{}
	}
	return r, err
}

// goesOn reports whether the batch at lsn was in the journal at open, and is to be
// applied alone.
func (r *replay) goesOn(lsn cluster.LSN) (alone bool, err error) {
	if r.over || lsn >= r.end {
		return false, r.finish()
	}
	return true, nil
}

// before notes that the operation at lsn comes next. errQuarantined: it must not.
func (r *replay) before(lsn cluster.LSN) error {
	if r.over || lsn >= r.end {
		return nil
	}
	next := applying{At: fmt.Sprintf("%020d", uint64(lsn)), Deaths: 1}
	if r.found.At == next.At {
		next.Deaths += r.found.Deaths
	}
	if next.Deaths > maxDeaths {
		r.stuck = true
		err := fmt.Errorf("%w: the process died %d times while it applied it", errQuarantined, r.found.Deaths)
		return errors.Join(err, r.write(r.found)) // operations before it have replaced the document
	}
	return r.write(next)
}

func (r *replay) write(doc applying) error {
	b, err := sealedOctets(applyingFile, doc)
	if err == nil && r.file == nil {
		r.file, err = r.fs.OpenReadWrite(r.fs.PathJoin(r.dir, applyingFile), vfs.WriteCategoryUnspecified)
	}
	if err == nil {
		_, err = r.file.WriteAt(b, 0)
	}
	if err != nil {
		return fmt.Errorf("note what is being applied: %w", err)
	}
	return nil
}

// finish forgets the file: the replay went well, or the process lived to end it.
// Only a quarantine outlives that.
func (r *replay) finish() error {
	if r.over || r.stuck {
		return nil
	}
	r.over = true
	var err error
	if r.file != nil {
		err = r.file.Close()
		r.file = nil
	}
	if failed := r.fs.Remove(r.fs.PathJoin(r.dir, applyingFile)); failed != nil && !errors.Is(failed, os.ErrNotExist) {
		err = errors.Join(err, failed)
	}
	if err != nil {
		return fmt.Errorf("forget what was being applied: %w", err)
	}
	return nil
}
