package journal

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Cut is a tail that was kept aside when a journal was truncated.
type Cut struct {
	Name     string // of its file
	From, To cluster.LSN
	Epoch    cluster.Epoch // of its last batch
}

// Cuts lists the tails beside the journal in dir, by their names, which is in the
// order of From. None if there is no such directory.
func Cuts(fs vfs.FS, dir string) ([]Cut, error) {
	names, err := fs.List(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list cuts in %s: %w", dir, err)
	}
	var cuts []Cut
	for _, n := range names {
		base, ok := strings.CutSuffix(n, cutSuffix)
		if !ok {
			continue
		}
		from, to, err := parseCutName(base)
		_, digits, found := strings.Cut(base, "-e")
		epoch, errEpoch := strconv.ParseUint(digits, 10, 64)
		if err == nil && found && errEpoch == nil {
			cuts = append(cuts, Cut{n, from, to, cluster.Epoch(epoch)})
		}
	}
	return cuts, nil
}

// OpenCut opens what there is of a journal in dir with the tail c where it was, in
// place of all that came there since.
func OpenCut(fs vfs.FS, dir string, c Cut) (*Remains, error) {
	r, err := OpenRemains(fs, dir)
	if err != nil {
		return nil, err
	}
	r.mark = 0 // it is of the journal that goes on
	for n := len(r.segments); n > 0 && r.segments[n-1].base.LSN >= c.From; n-- {
		if err := r.segments[n-1].file.Close(); err != nil {
			return nil, errors.Join(fmt.Errorf("open cut %s: %w", c.Name, err), r.Close())
		}
		r.segments, r.sizes = r.segments[:n-1], r.sizes[:n-1]
	}
	if err := r.openAt(c.Name, c.From); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}
