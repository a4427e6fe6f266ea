package campaign

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/slot"
)

// world is one store with its machines, the coordinator's record and the network.
type world struct {
	rng   *mathrand.Rand // the faults'
	shape slot.Config    // what all slots have in common
	log   *slog.Logger
	// sparing is FS.sparing.
	sparing bool

	mu       sync.Mutex
	rec      cluster.StoreRecord
	rev      cluster.Rev
	machines []*machine
	conns    []conn
	apart    map[cluster.Machine]bool // cut off from the others
	drawn    byte                     // slot ids
	wg       sync.WaitGroup
}

type conn struct {
	a, b cluster.Machine
	here net.Conn
}

// machine is a machine with the slot that the record says is there.
type machine struct {
	world *world
	name  cluster.Machine
	fs    *FS

	// Guarded by world.mu.
	id     cluster.SlotID
	slot   *slot.Slot // nil while it is off
	disk   *disk.Disk
	cancel context.CancelFunc
	done   chan struct{}
}

func newWorld(seed uint64, machines int, sparing bool, log *slog.Logger) (*world, error) {
	rng := mathrand.New(mathrand.NewPCG(seed, 1))
	w := &world{rng: rng, sparing: sparing, log: log, rev: 1, apart: map[cluster.Machine]bool{}}
	w.rec = cluster.StoreRecord{Store: "s1", Nonce: "first"}
	w.shape = slot.Config{
		Cluster: "test", Store: "s1", Meta: "/meta/s1", Spool: "/spool/s1", Records: w, Now: time.Now, Rand: rand.Reader,
		SegmentSize: []int64{32 << 10, 128 << 10, 1 << 20}[rng.IntN(3)], Hurry: slot.Hurry{
			Move: 200 * time.Millisecond, Collect: 3 * time.Second, Scrub: 2 * time.Second, Save: 5 * time.Second,
			Repair: time.Second, AnyTurn: true, Reach: 8 << 20, Wait: 3 * time.Second, NoPause: !RealTime(seed),
		},
	}
	for i := range machines {
		m := &machine{world: w, name: cluster.Machine(fmt.Sprintf("m%d", i+1))}
		w.machines = append(w.machines, m)
		w.rec.Slots = append(w.rec.Slots, cluster.SlotRef{Slot: w.newID(), Machine: m.name})
		m.id = w.rec.Slots[i].Slot
		m.fs = w.blank()
		if err := slot.Create(m.config(m.fs, disk.New(disk.Config{}))); err != nil {
			return nil, err
		}
	}
	for _, m := range w.machines {
		m.start()
	}
	return w, nil
}

// blank is a new disk.
func (w *world) blank() *FS { return newFS(vfs.NewCrashableMem(), w.sparing) }

func (w *world) newID() cluster.SlotID {
	w.drawn++
	return cluster.SlotID{w.drawn}
}

func (m *machine) config(fs *FS, d *disk.Disk) slot.Config {
	cfg := m.world.shape
	begun := time.Now()
	cfg.Slot, cfg.Machine, cfg.FS, cfg.Disk, cfg.Peers = m.ID(), m.name, fs, d, m
	cfg.Clock = func() time.Duration { return time.Since(begun) }
	cfg.Log = m.world.log.With("machine", m.name)
	return cfg
}

// start opens the slot with the disk that is in the machine.
func (m *machine) start() {
	w, fs := m.world, m.fs
	d := disk.New(disk.Config{
		Usage: func() (vfs.DiskUsage, error) { return fs.GetDiskUsage("/") }, Interval: time.Second,
		Ballast: &disk.Ballast{FS: fs, Path: "/ballast"},
	})
	ctx, cancel := context.WithCancel(context.Background())
	s, done := slot.New(m.config(fs, d)), make(chan struct{})
	w.mu.Lock()
	m.slot, m.disk, m.cancel, m.done = s, d, cancel, done
	rec, rev := w.rec.Clone(), w.rev
	w.mu.Unlock()
	s.RecordSeen(rec, rev, rev)
	go func() {
		defer close(done)
		var wg sync.WaitGroup
		wg.Go(func() { _ = d.Run(ctx) })
		_ = s.Run(ctx) // its error is ctx's
		wg.Wait()
	}()
}

// stop ends the process in order.
func (m *machine) stop() {
	m.world.mu.Lock()
	cancel, done := m.cancel, m.done
	m.slot, m.cancel = nil, nil
	m.world.mu.Unlock()
	if cancel != nil {
		cancel()
		<-done
	}
}

// crash ends the process at once, and keeps so many percent of what was not synced.
func (m *machine) crash(keep int) {
	after := m.fs.cut(keep, m.world.rng)
	m.stop()
	m.fs = after
}

// running is the slot, nil while the machine is off.
func (m *machine) running() (*slot.Slot, *disk.Disk) {
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	return m.slot, m.disk
}

// status is what the slot says of itself; false while the machine is off.
func (m *machine) status() (slot.Status, bool) {
	s, _ := m.running()
	if s == nil {
		return slot.Status{}, false
	}
	return s.Status(), true
}

// ID is the slot's.
func (m *machine) ID() cluster.SlotID {
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	return m.id
}

// at is the machine that a slot of the record is on.
func (w *world) at(id cluster.SlotID) *machine {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.machines {
		if m.id == id {
			return m
		}
	}
	return nil
}

// Read implements slot.Records.
func (w *world) Read(ctx context.Context) (cluster.StoreRecord, cluster.Rev, cluster.Rev, error) {
	if err := pause(ctx, time.Millisecond); err != nil {
		return cluster.StoreRecord{}, 0, 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rec.Clone(), w.rev, w.rev, nil
}

// Swap implements slot.Records and shows the change to every slot, as a watch would.
func (w *world) Swap(ctx context.Context, rev cluster.Rev, next cluster.StoreRecord) (bool, cluster.Rev, error) {
	if err := pause(ctx, 2*time.Millisecond); err != nil {
		return false, 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if rev != w.rev {
		return false, 0, nil
	}
	w.rec = next.Clone()
	w.rev++
	now := w.rev
	for _, m := range w.machines {
		if s := m.slot; s != nil {
			w.wg.Go(func() { s.RecordSeen(next.Clone(), now, now) })
		}
	}
	return true, w.rev, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reach returns the slot with that id if machine from reaches it.
func (w *world) reach(from cluster.Machine, id cluster.SlotID) (*machine, *slot.Slot) {
	m := w.at(id)
	w.mu.Lock()
	defer w.mu.Unlock()
	if m == nil || m.slot == nil || m.name != from && (w.apart[from] || w.apart[m.name]) {
		return m, nil
	}
	return m, m.slot
}

var errUnreached = errors.New("machine cannot be reached")

// Dial implements slot.Peers.
func (m *machine) Dial(_ context.Context, _ cluster.Machine, _ cluster.Store, from, to cluster.SlotID) (net.Conn, error) {
	return m.dial(from, to, (*slot.Slot).Accept)
}

// DialSeed implements slot.Peers.
func (m *machine) DialSeed(_ context.Context, _ cluster.Machine, _ cluster.Store, from, to cluster.SlotID) (net.Conn, error) {
	return m.dial(from, to, (*slot.Slot).AcceptSeed)
}

func (m *machine) dial(from, to cluster.SlotID, accept func(*slot.Slot, context.Context, cluster.SlotID, net.Conn) error) (net.Conn, error) {
	w := m.world
	other, s := w.reach(m.name, to)
	if s == nil {
		return nil, errUnreached
	}
	here, there := net.Pipe()
	w.mu.Lock()
	w.conns = append(w.conns, conn{m.name, other.name, here})
	w.mu.Unlock()
	w.wg.Go(func() { _ = accept(s, context.Background(), from, there) })
	return here, nil
}

// Body implements slot.Peers.
func (m *machine) Body(_ context.Context, _ cluster.Machine, _ cluster.Store, _, to cluster.SlotID, id mail.BodyID) (io.ReadCloser, error) {
	_, s := m.world.reach(m.name, to)
	if s == nil {
		return nil, errUnreached
	}
	c, err := s.OpenBody(id)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(c, 0, c.Size()), c}, nil
}

// MayGoAlone implements slot.Peers, as an agent does: others are asked whether they see
// the slot at work.
func (m *machine) MayGoAlone(_ context.Context, _ cluster.Machine, id cluster.SlotID) replica.Verdict {
	for _, witness := range m.world.machines {
		if s, _ := witness.running(); s == nil || witness == m || witness.ID() == id {
			continue
		}
		if _, reached := m.world.reach(m.name, witness.ID()); reached == nil {
			continue
		}
		if other, s := m.world.reach(witness.name, id); s != nil && follows(other) {
			return replica.HandOver
		}
	}
	return replica.GoAlone
}

func follows(m *machine) bool {
	s, d := m.running()
	if s == nil || d.Outstanding() >= time.Second {
		return false
	}
	st := s.Status()
	return st.Role == replica.RoleReplica.String() && st.State != slot.StateFailed && st.State != slot.StateFrozen
}

// part cuts a machine off, or ends that.
func (w *world) part(m cluster.Machine, apart bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.apart[m] = apart
	w.conns = slices.DeleteFunc(w.conns, func(c conn) bool {
		cut := apart && (c.a == m || c.b == m)
		if cut {
			_ = c.here.Close() // a pipe
		}
		return cut
	})
}

// stalledAfter is how old a sync or write may be before the controller takes the disk
// for one that hangs.
const stalledAfter = 2 * time.Second

// govern does what the controller does: it nominates the longest of the in-sync set
// when no master is at work.
func (w *world) govern(ctx context.Context) {
	for pause(ctx, 50*time.Millisecond) == nil {
		rec, _, _, err := w.Read(ctx)
		if err != nil {
			return
		}
		if m := w.at(rec.Master); rec.Epoch != 0 && m != nil && leads(m, rec) {
			continue
		}
		var best *slot.Slot
		var end cluster.LSN
		for _, m := range w.machines {
			s, d := m.running()
			if s == nil || rec.Epoch != 0 && !rec.IsInSync(m.ID()) || d.Outstanding() > stalledAfter {
				continue
			}
			if st := s.Status(); st.State != slot.StateFailed && (best == nil || st.End > end) {
				best, end = s, st.End
			}
		}
		if best != nil {
			_ = best.Nominate(replica.Nominate{}) // again soon
		}
	}
}

// leads reports whether the recorded master is at work, or about to be.
func leads(m *machine, rec cluster.StoreRecord) bool {
	s, d := m.running()
	if s == nil || d.Outstanding() > stalledAfter {
		return false
	}
	st := s.Status()
	return st.State != slot.StateFailed && st.Incarnation == rec.Incarnation
}

// master is the slot that serves, nil if none does.
func (w *world) master() *slot.Slot {
	for _, m := range w.machines {
		if s, _ := m.running(); s != nil && s.Status().Serving {
			return s
		}
	}
	return nil
}

// replace does what an operator does with a slot whose data is lost: the machine gets
// a new, empty one. False: not now.
func (w *world) replace(m *machine) (bool, error) {
	w.mu.Lock()
	rec, rev := w.rec.Clone(), w.rev
	w.mu.Unlock()
	old := m.ID()
	if rec.IsInSync(old) {
		return false, nil
	}
	id := w.newID()
	for i := range rec.Slots {
		if rec.Slots[i].Slot == old {
			rec.Slots[i] = cluster.SlotRef{Slot: id, Machine: m.name}
		}
	}
	rec.Nonce = fmt.Sprintf("operator-%d", binary.BigEndian.Uint16(id[:]))
	m.stop()
	ok, _, err := w.Swap(context.Background(), rev, rec)
	if err != nil || !ok {
		return false, err
	}
	w.mu.Lock()
	m.id = id
	w.mu.Unlock()
	m.fs = w.blank()
	if err := slot.Create(m.config(m.fs, disk.New(disk.Config{}))); err != nil {
		return false, err
	}
	m.start()
	return true, nil
}
