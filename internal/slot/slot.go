package slot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/latency"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/state"
)

// Slot is the stable handle of one data set. It lives through incarnations: an
// incarnation that ends is followed by another, and only a failed one is not.
// Every method but Run may be called from anywhere at any time.
type Slot struct {
	cfg      Config
	log      *slog.Logger
	serving  *serving
	watchers *state.Watchers
	counts   counters
	damaged  damaged
	holds    *latency.Histogram // of writes
	learned  chan struct{}      // buffer of one: skips has grown, or toCopy
	source   atomic.Bool        // a copy is being made of this slot
	level    atomic.Uint32      // the cluster's, as far as is known
	// retention is how long what was deleted is kept; 0: nobody has told.
	retention atomic.Int64

	cleared bool // what an earlier process left in the spool is gone; Run's
	spoilt  bool // the index is damaged, though it opens: it is made anew; Run's

	mu     sync.Mutex
	now    *incarnation // nil while none is open
	seen   *replica.RecordSeen
	skips  []cluster.Skip // given up, as far as is known
	toCopy bool           // a person wants this slot made anew
	status Status
	peers  []replica.PeerState // as of status
}

// New returns a Slot that is not open. The data must exist (Create).
func New(cfg Config) *Slot {
	if cfg.Level == 0 {
		cfg.Level = cluster.CurrentLevel
	}
	log := cfg.Log.With("store", cfg.Store, "slot", cfg.Slot.String())
	s := &Slot{cfg: cfg, log: log, serving: newServing(cfg.Clock), watchers: &state.Watchers{}, holds: newHolds(), learned: make(chan struct{}, 1)}
	s.status = Status{Store: cfg.Store, Slot: cfg.Slot, Role: replica.RoleIdle.String(), State: StateOpening}
	return s
}

// Create makes the two directories of a new, empty slot.
func Create(cfg Config) error {
	for _, dir := range []string{cfg.Meta, cfg.Spool, cfg.FS.PathJoin(cfg.Meta, "journal")} {
		if err := cfg.Disk.MakeDir(cfg.FS, dir); err != nil {
			return fmt.Errorf("create slot: %w", err)
		}
	}
	j, err := journal.Create(journalConfig(&cfg), cluster.Position{})
	if err != nil {
		return fmt.Errorf("create slot: %w", err)
	}
	if err := j.Close(); err != nil {
		return fmt.Errorf("create slot: %w", err)
	}
	// The identity comes last: a slot that has one is complete.
	return writeIdentity(cfg.FS, cfg.Meta, cfg.Spool, Identity{
		Cluster: cfg.Cluster, Store: cfg.Store, StoreID: storeID(cfg.Cluster, cfg.Store), Slot: cfg.Slot,
	})
}

func journalConfig(cfg *Config) journal.Config {
	return journal.Config{
		FS: cfg.FS, Dir: cfg.FS.PathJoin(cfg.Meta, "journal"), StoreID: storeID(cfg.Cluster, cfg.Store),
		Disk: cfg.Disk, Log: cfg.Log, SegmentSize: cfg.SegmentSize,
	}
}

// The pause before a slot whose incarnation ended opens again: longer each time,
// unless it ran for a while, since a disk that fails does not get well by trying.
const (
	reopenMin = 100 * time.Millisecond
	reopenMax = 5 * time.Second
	// indexMax is for a slot whose index failed: to make one costs more than an open.
	indexMax = time.Minute
)

// Run opens the slot and serves until ctx ends. A slot whose data is damaged or too old
// makes itself a copy of the master (seeding). One whose index failed is failed for a
// while only: the index is opened again, or made anew if it is damaged. One that failed
// otherwise stays so, and says so in Status, until the process ends, the store gives up
// the operation that it failed at, or a person wants it made anew.
func (s *Slot) Run(ctx context.Context) error {
	pause := reopenMin
	for {
		begun := s.cfg.Clock()
		err := s.runOnce(ctx)
		most := reopenMax
		if errors.Is(err, errIndexFailed) {
			most = indexMax
		}
		if s.cfg.Clock()-begun > most {
			pause = reopenMin
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errSeed):
			if err := s.fill(ctx, err); err != nil {
				return err
			}
			pause = reopenMin
			continue
		case errors.Is(err, errIndexFailed):
			s.spoilt = errors.Is(err, cluster.ErrDamaged)
			if errors.Is(err, syscall.ENOSPC) {
				s.relieve(s.cfg.Disk)
			}
			s.log.Error("index failed; it is opened again, or made anew if it is damaged", "err", err)
			s.setStatus(func(st *Status) { st.State, st.Role = StateFailed, replica.RoleFailed.String() })
		case errors.Is(err, errFailed), errors.Is(err, cluster.ErrDamaged), errors.Is(err, cluster.ErrNewer):
			s.log.Error("slot failed; its partner serves, or must", "err", err)
			s.setStatus(func(st *Status) {
				st.State, st.Reason, st.Fault, st.Role = StateFailed, err.Error(), faultOf(err), replica.RoleFailed.String()
				st.Left = errors.Is(err, errLeft)
			})
			if err := s.awaitRescue(ctx, err); err != nil {
				return err
			}
			pause = reopenMin
			if s.wanted() {
				if err := s.fill(ctx, err); err != nil {
					return err
				}
				continue
			}
		}
		s.log.Warn("slot opens again", "err", err)
		s.setStatus(func(st *Status) { st.Reason = err.Error() })
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, most)
	}
}

// errIndexFailed: an index that was open is no use any more. The journal may be fine.
var errIndexFailed = errors.New("index failed")

// runOnce is one incarnation.
func (s *Slot) runOnce(ctx context.Context) error {
	inc, opened, err := s.open()
	if err != nil {
		return fmt.Errorf("open slot: %w", err)
	}
	err = inc.run(ctx, opened)
	if why := inc.index.Err(); why != nil {
		err = fmt.Errorf("%w: %w", errIndexFailed, why)
	}
	return errors.Join(err, inc.close())
}

// incarnation is one open of the slot: everything that ends together.
type incarnation struct {
	*Slot
	cfg     *Config
	id      Identity
	number  cluster.Incarnation
	skips   []cluster.Skip // the store has given up
	reached cluster.Level  // of the state at open
	journal *journal.Journal
	index   *index.DB
	packs   *pack.Set
	events  chan replica.Event
	done    chan struct{} // closed when the loop has ended: nobody takes events
	queue   *queue
	pending pending
	recent  *recent
	recents state.Recents
	views   views
	marks   marks
	builder *state.Builder
	stager  *state.Stager
	commit  atomic.Uint64         // the protocol's, for the frames that streams send
	full    atomic.Bool           // no new octets
	cramped atomic.Bool           // an append found no room
	settled atomic.Uint64         // LSN: see Status
	fault   atomic.Pointer[error] // an operation cannot be applied: reads only
	scratch []applied             // the applier's

	keeper   *keeper
	sessions *sessions
	syncer   *syncer
	applier  *applier
	flusher  *flusher
	saver    *saver
	replay   *replay
	problem  *replica.Problem // the loop's

	sessionCtx context.Context
	seenNews   chan struct{}  // buffer of one: look at Slot.seen
	handovers  chan *handover // wishes for a switchover
	broken     chan error     // buffer of one: of the applier, an operation
	failed     chan error     // of the index: fatal errors that only a callback tells
	dropped    chan struct{}  // buffer of one: a person gave this slot's data up
}

// open reads what is on disk.
func (s *Slot) open() (*incarnation, replica.Opened, error) {
	var opened replica.Opened
	id, err := Inspect(s.cfg.FS, s.cfg.Meta, s.cfg.Spool)
	if err != nil {
		return nil, opened, err
	}
	if id.Slot != s.cfg.Slot || id.Cluster != s.cfg.Cluster || id.Store != s.cfg.Store {
		return nil, opened, fmt.Errorf("directory %s holds slot %v of store %s in cluster %s: %w", s.cfg.Meta, id.Slot, id.Store, id.Cluster, cluster.ErrDamaged)
	}
	if id.Seeding {
		return nil, opened, fmt.Errorf("%w: that was begun", errSeed)
	}
	id.Opens++ // kept when the record agrees that this is a new open
	memory, err := readAdopted(s.cfg.FS, s.cfg.Meta)
	if err != nil {
		return nil, opened, err
	}
	if memory.Record != nil {
		s.learn(memory.Record)
	}
	inc := &incarnation{
		Slot: s, cfg: &s.cfg, id: id, skips: s.given(), queue: newQueue(), recent: newRecent(),
		builder: s.newBuilder(), stager: state.NewStager(spool{s.cfg.FS, s.cfg.Spool, s.cfg.Rand}),
		events: make(chan replica.Event, maxEvents), done: make(chan struct{}), seenNews: make(chan struct{}, 1),
		handovers: make(chan *handover), broken: make(chan error, 1), failed: make(chan error, 1),
		dropped: make(chan struct{}, 1),
	}
	if inc.number, err = randomIncarnation(s.cfg.Rand); err != nil {
		return nil, opened, err
	}
	s.clearSpool()
	if err := inc.openPacks(); err != nil {
		return nil, opened, err
	}
	recovery, err := inc.openData(memory)
	if errors.Is(err, cluster.ErrDamaged) {
		err = fmt.Errorf("%w: %w", errSeed, err)
	}
	if err != nil {
		return nil, opened, err
	}
	if inc.replay, err = newReplay(s.cfg.FS, s.cfg.Meta, recovery.End.LSN); err != nil {
		return nil, opened, errors.Join(err, inc.index.Close(), inc.journal.Close())
	}
	inc.wire(memory)
	opened = inc.openedEvent(recovery, memory)
	return inc, opened, nil
}

func randomIncarnation(r io.Reader) (cluster.Incarnation, error) {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, fmt.Errorf("draw incarnation: %w", err)
	}
	return cluster.Incarnation(binary.LittleEndian.Uint64(b[:]) | 1), nil
}

func (inc *incarnation) close() error {
	inc.views.close()
	inc.packs.Close()
	return errors.Join(inc.replay.finish(), inc.index.Close(), inc.journal.Close())
}
