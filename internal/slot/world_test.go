package slot

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/replica"
)

// TestMain has more tests run side by side than there are processors, unless -parallel
// says otherwise: those in real time mostly wait.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	m.Run()
}

// world is a store of some slots in one process: the record in memory, pipes
// between the slots, a file system each. So it can live in virtual time, and does
// unless a test wants things to happen while others are under way (there, time passes
// only while nobody does anything), or fails a disk: Pebble never wakes whom it let
// wait for a flush that failed, and a bubble waits for all its goroutines.
type world struct {
	t testing.TB
	// They make a connection between two slots.
	connect, connectSeed func() (here, there net.Conn, err error)

	sent int // deliveries of trimmed

	mu   sync.Mutex
	rec  cluster.StoreRecord
	rev  cluster.Rev
	node []*node
	wg   sync.WaitGroup
}

type node struct {
	*Slot
	world  *world
	cfg    Config
	cancel context.CancelFunc
	done   chan struct{}
	used   atomic.Uint64             // percent of the disk
	date   atomic.Pointer[time.Time] // of its wall clock; nil: the real one
}

func (n *node) wallClock() time.Time {
	if d := n.date.Load(); d != nil {
		return *d
	}
	return time.Now()
}

func (n *node) usage() (vfs.DiskUsage, error) {
	const percent = 1 << 30
	return vfs.DiskUsage{TotalBytes: 100 * percent, AvailBytes: (100 - n.used.Load()) * percent}, nil
}

func newWorld(t testing.TB, slots int) *world {
	w := &world{t: t, rev: 1, connect: pipe, connectSeed: pipe}
	w.rec = cluster.StoreRecord{Store: "s1", Nonce: "first"}
	for i := range slots {
		w.add(inMemory(i))
	}
	t.Cleanup(func() {
		for _, n := range w.node {
			n.stop()
		}
		w.wg.Wait()
	})
	return w
}

// inMemory is a slot on a machine of its own.
func inMemory(i int) Config {
	return Config{
		Slot: cluster.SlotID{byte(i + 1)}, Machine: cluster.Machine(fmt.Sprintf("m%d", i+1)),
		Meta: "/meta", Spool: "/spool", FS: newPower(vfs.NewCrashableMem()), SegmentSize: 1 << 20,
	}
}

// add gives the store one more slot, new and empty.
func (w *world) add(cfg Config) *node {
	w.t.Helper()
	n := &node{world: w}
	cfg.Cluster, cfg.Store = "test", "s1"
	cfg.Disk = disk.New(disk.Config{Usage: n.usage})
	cfg.Records, cfg.Peers, cfg.Clock, cfg.Now, cfg.Rand, cfg.Log = w, n, clock(), n.wallClock, rand.Reader, testLog(w.t)
	n.cfg = cfg
	if err := Create(n.cfg); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rec.Slots = append(w.rec.Slots, cluster.SlotRef{Slot: cfg.Slot, Machine: cfg.Machine})
	w.node = append(w.node, n)
	return n
}

func pipe() (here, there net.Conn, err error) {
	here, there = net.Pipe()
	return here, there, nil
}

func testLog(t testing.TB) *slog.Logger {
	if os.Getenv("TANDEMAIL_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func clock() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

// Read implements Records.
func (w *world) Read(context.Context) (cluster.StoreRecord, cluster.Rev, cluster.Rev, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rec.Clone(), w.rev, w.rev, nil
}

// Swap implements Records and shows the change to every slot, as a watch would.
func (w *world) Swap(_ context.Context, rev cluster.Rev, next cluster.StoreRecord) (bool, cluster.Rev, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if rev != w.rev {
		return false, 0, nil
	}
	w.rec = next.Clone()
	w.rev++
	w.wg.Add(1)
	nodes := slices.Clone(w.node)
	go func(rec cluster.StoreRecord, rev cluster.Rev) {
		defer w.wg.Done()
		for _, n := range nodes {
			if s := n.running(); s != nil {
				s.RecordSeen(rec, rev, rev)
			}
		}
	}(w.rec.Clone(), w.rev)
	return true, w.rev, nil
}

// Dial implements Peers.
func (n *node) Dial(_ context.Context, m cluster.Machine, _ cluster.Store, from, to cluster.SlotID) (net.Conn, error) {
	for _, other := range n.world.nodes() {
		s := other.running()
		if other.cfg.Slot != to || s == nil {
			continue
		}
		here, there, err := n.world.connect()
		if err != nil {
			return nil, err
		}
		n.world.wg.Add(1)
		go func() {
			defer n.world.wg.Done()
			_ = s.Accept(context.Background(), from, there)
		}()
		return here, nil
	}
	return nil, fmt.Errorf("machine %s is down", m)
}

// DialSeed implements Peers.
func (n *node) DialSeed(_ context.Context, m cluster.Machine, _ cluster.Store, from, to cluster.SlotID) (net.Conn, error) {
	for _, other := range n.world.nodes() {
		s := other.running()
		if other.cfg.Slot != to || s == nil {
			continue
		}
		here, there, err := n.world.connectSeed()
		if err != nil {
			return nil, err
		}
		n.world.wg.Add(1)
		go func() {
			defer n.world.wg.Done()
			if err := s.AcceptSeed(context.Background(), from, there); err != nil {
				n.cfg.Log.Warn("seed", "err", err)
			}
		}()
		return here, nil
	}
	return nil, fmt.Errorf("machine %s is down", m)
}

// Body implements Peers.
func (n *node) Body(_ context.Context, m cluster.Machine, _ cluster.Store, _, to cluster.SlotID, id mail.BodyID) (io.ReadCloser, error) {
	for _, other := range n.world.nodes() {
		if s := other.running(); other.cfg.Slot == to && s != nil {
			c, err := s.OpenBody(id)
			if err != nil {
				return nil, err
			}
			return struct {
				io.Reader
				io.Closer
			}{io.NewSectionReader(c, 0, c.Size()), c}, nil
		}
	}
	return nil, fmt.Errorf("machine %s is down", m)
}

// MayGoAlone implements Peers.
func (n *node) MayGoAlone(context.Context, cluster.Machine, cluster.SlotID) replica.Verdict {
	return replica.GoAlone
}

func (n *node) running() *Slot {
	n.world.mu.Lock()
	defer n.world.mu.Unlock()
	if n.cancel == nil {
		return nil
	}
	return n.Slot
}

func (n *node) start() {
	n.world.mu.Lock()
	defer n.world.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	n.Slot, n.cancel, n.done = New(n.cfg), cancel, make(chan struct{})
	n.Slot.RecordSeen(n.world.rec.Clone(), n.world.rev, n.world.rev)
	go func(s *Slot, done chan struct{}) {
		defer close(done)
		_ = s.Run(ctx)
	}(n.Slot, n.done)
}

func (n *node) stop() {
	n.world.mu.Lock()
	cancel, done := n.cancel, n.done
	n.cancel = nil
	n.world.mu.Unlock()
	if cancel != nil {
		cancel()
		<-done
	}
}

// crash takes node n's power and starts the machine again, with what it kept.
func (n *node) crash(keepPercent int, rng *mathrand.Rand) {
	after := n.cfg.FS.(*power).cut(keepPercent, rng)
	n.stop()
	n.cfg.FS = after
}

// govern nominates a master whenever there is none, until ctx ends: the longest
// of the in-sync set that runs.
func (w *world) govern(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		rec, _, _, _ := w.Read(ctx)
		var best *Slot
		for _, n := range w.nodes() {
			s := n.running()
			if s == nil || (rec.Epoch != 0 && !rec.IsInSync(n.cfg.Slot)) {
				continue
			}
			if s.serving.master() != 0 {
				best = nil
				break
			}
			if best == nil || s.Status().End > best.Status().End {
				best = s
			}
		}
		if best != nil {
			_ = best.Nominate(replica.Nominate{}) // again at the next tick
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (w *world) nodes() []*node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.node)
}

// master is the slot that serves, nil if none does.
func (w *world) master() *Slot {
	for _, n := range w.nodes() {
		if s := n.running(); s != nil && s.serving.master() != 0 {
			return s
		}
	}
	return nil
}

// lead makes node i the master and waits until it serves.
func (w *world) lead(i int) *node {
	w.t.Helper()
	n := w.node[i]
	w.eventually(func() error {
		if n.serving.master() != 0 {
			return nil
		}
		return errors.Join(n.Nominate(replica.Nominate{}), fmt.Errorf("node %d is no master: %+v", i, n.Status()))
	})
	return n
}

func (w *world) eventually(f func() error) {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(2 * time.Minute) // a busy host is slow
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			w.t.Fatalf("never happened: %v", err)
		}
	}
}

// inSync waits until the record has every slot in sync.
func (w *world) inSync() {
	w.t.Helper()
	w.eventually(func() error {
		rec, _, _, _ := w.Read(context.Background())
		if len(rec.InSync) < len(rec.Slots) {
			err := fmt.Errorf("in sync: %v", rec.InSync)
			for _, n := range w.nodes() {
				if s := n.running(); s != nil {
					st := s.Status()
					err = fmt.Errorf("%w; %s is %s, %s: %s", err, n.cfg.Machine, st.Role, st.State, st.Reason)
				}
			}
			return err
		}
		return nil
	})
}

// sameEverywhere waits until every slot is in sync and all have one digest.
func (w *world) sameEverywhere() {
	w.t.Helper()
	w.inSync()
	w.eventually(func() error {
		first, err := w.node[0].Digest(w.t.Context(), 0)
		for _, n := range w.node[1:] {
			d, errN := n.Digest(w.t.Context(), 0)
			err = errors.Join(err, errN)
			if err == nil && d != first {
				err = fmt.Errorf("digests %+v and %+v", first, d)
			}
		}
		return err
	})
}

// textLog is a log that a test reads.
func textLog(to io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(to, nil)) }

// nominated asks a node that is no master yet to become it.
func (n *node) nominated() error {
	if n.serving.master() != 0 {
		return nil
	}
	return n.Nominate(replica.Nominate{})
}

// copyFile copies a file between file systems, under its path.
func copyFile(from, to vfs.FS, path string) error {
	f, err := from.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	g, err := to.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.Copy(g, f)
	return errors.Join(err, g.Close())
}
