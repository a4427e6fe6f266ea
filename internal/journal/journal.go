package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
)

// Config of a journal. FS, Dir, StoreID and Disk are required.
type Config struct {
	FS      vfs.FS
	Dir     string // belongs to the journal alone
	StoreID [16]byte
	Disk    *disk.Disk
	Log     *slog.Logger // default: discard
	// SegmentSize in octets, the header of the file not counted. Default 64 MiB.
	// The first segments of a store are smaller: a new store takes little room.
	SegmentSize int64

	// What Open may rely on. VerifyFrom: everything below is applied and flushed;
	// segments that end there are trusted to their headers. KnownCommit and Applied:
	// positions this copy is known to have held durably. A journal that ends below
	// any of the three is damaged.
	VerifyFrom, KnownCommit, Applied cluster.LSN
	// Member: nothing was committed that was not durable here first. A copy that
	// catches up gets batches that were committed without it: what they say then
	// proves nothing about its own disk.
	Member bool
}

// maxSpares is how many trimmed segment files are kept for reuse.
const maxSpares = 2

// recentPositions is how many batch ends are kept in memory with their chains.
const recentPositions = 64

// Head is what the master says in the header of a batch.
type Head struct {
	Epoch  cluster.Epoch
	Commit cluster.LSN // known now; at most the journal's end
}

// EpochStart is the first batch held of an epoch.
type EpochStart struct {
	Epoch cluster.Epoch
	// LSN of the first batch of the epoch, or the low end of the journal if that
	// batch was trimmed.
	LSN         cluster.LSN
	ChainBefore cluster.Chain
}

// Journal is an open journal. Use Create or Open.
type Journal struct {
	cfg Config

	// io, when full, is held by who may move the durable mark in either direction.
	// Only calls that wait for the disk anyway wait for it.
	io   chan struct{}
	mark *mark

	// mu guards the rest; never held during I/O.
	mu        sync.Mutex
	segs      []*segment // oldest first, never empty
	end       cluster.Position
	commit    cluster.LSN // highest in any batch
	durable   cluster.LSN
	epochs    []EpochStart
	recent    []cluster.Position // ends of the latest batches, ascending
	pins      map[*cluster.LSN]struct{}
	spares    []string // paths of reusable files
	spareNo   int
	cuts      int  // grows with each TruncateTo
	busy      bool // a Trim or TruncateTo is running
	preparing bool // a Prepare is
	batches   int  // appended
	looked    look // by the last Prepare
	err       error
}

func withDefaults(cfg Config) Config {
	if cfg.SegmentSize <= 0 {
		cfg.SegmentSize = 64 << 20
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// End returns the place after the last batch, durable or not.
func (j *Journal) End() cluster.Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.end
}

// Durable returns the LSN up to which everything survives a loss of power.
func (j *Journal) Durable() cluster.LSN {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.durable
}

// Low returns the place of the oldest batch held. Below it a replica reseeds.
func (j *Journal) Low() cluster.Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.segs[0].base
}

// Sealed returns where the segments end that nothing is appended to any more, as far
// as they end at or before lsn: where one begins. The low end if none does.
func (j *Journal) Sealed(lsn cluster.LSN) cluster.LSN {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := len(j.segs) - 1
	for i > 0 && j.segs[i].base.LSN > lsn {
		i--
	}
	return j.segs[i].base.LSN
}

// SegmentSize is what a segment has at most, in octets.
func (j *Journal) SegmentSize() int64 { return j.cfg.SegmentSize }

// Epochs returns the epochs of the batches held, ascending.
func (j *Journal) Epochs() []EpochStart {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.epochs)
}

// Err returns the final error, nil while the journal can be written.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Close syncs nothing. Files close with their last reader.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.err == nil {
		j.err = fmt.Errorf("journal %s: %w", j.cfg.Dir, cluster.ErrStopped)
	}
	var idle []*segment
	for _, s := range j.segs {
		if !s.retired {
			s.retired = true
			if s.refs == 0 {
				idle = append(idle, s)
			}
		}
	}
	j.mu.Unlock()
	var errs []error
	for _, s := range idle {
		errs = append(errs, s.file.Close())
	}
	j.io <- struct{}{}
	defer func() { <-j.io }()
	if j.mark != nil {
		errs = append(errs, j.mark.close())
		j.mark = nil
	}
	return errors.Join(errs...)
}

// fail makes the first error final and returns the final one.
func (j *Journal) fail(err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		j.err = fmt.Errorf("journal %s: %w", j.cfg.Dir, err)
	}
	return j.err
}

// noteBatch records that b is the new end. Called with mu held.
func (j *Journal) noteBatch(s *segment, b Batch) {
	s.starts = append(s.starts, uint32(b.Base-s.base.LSN))
	s.end = b.End
	j.batches++
	j.noteEpoch(b.Epoch, cluster.Position{LSN: b.Base, Chain: j.end.Chain})
	j.end = b.Position()
	j.commit = max(j.commit, b.Commit)
	if len(j.recent) == recentPositions {
		j.recent = slices.Delete(j.recent, 0, recentPositions/2)
	}
	j.recent = append(j.recent, j.end)
}

// noteEpoch records that the batch at p has epoch e. Called with mu held.
func (j *Journal) noteEpoch(e cluster.Epoch, p cluster.Position) {
	if n := len(j.epochs); n == 0 || j.epochs[n-1].Epoch != e {
		j.epochs = append(j.epochs, EpochStart{Epoch: e, LSN: p.LSN, ChainBefore: p.Chain})
	}
}

func (j *Journal) path(name string) string { return j.cfg.FS.PathJoin(j.cfg.Dir, name) }

func (cfg Config) syncDir(dir string) error {
	f, err := cfg.FS.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", dir, err)
	}
	err = cfg.Disk.File(f, dir).Sync()
	return errors.Join(err, f.Close())
}

// noSpace reports whether err is the file system being full.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
