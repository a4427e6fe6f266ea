package slot

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/state"
)

// world is a store of some slots in one process: the record in memory, pipes
// between the slots, a file system each.
type world struct {
	t    *testing.T
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
}

func newWorld(t *testing.T, slots int) *world {
	w := &world{t: t, rev: 1}
	w.rec = cluster.StoreRecord{Store: "s1", Nonce: "first"}
	for i := range slots {
		ref := cluster.SlotRef{Slot: cluster.SlotID{byte(i + 1)}, Machine: cluster.Machine(fmt.Sprintf("m%d", i+1))}
		w.rec.Slots = append(w.rec.Slots, ref)
		n := &node{world: w}
		w.node = append(w.node, n)
		n.cfg = Config{
			Cluster: "test", Store: "s1", Slot: ref.Slot, Machine: ref.Machine,
			Meta: "/meta", Spool: "/spool", FS: vfs.NewCrashableMem(), Disk: disk.New(disk.Config{}),
			Records: w, Peers: n, Clock: clock(), Now: time.Now, Rand: rand.Reader,
			Log: testLog(t), SegmentSize: 1 << 20,
		}
		if err := n.cfg.FS.MkdirAll("/", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := Create(n.cfg); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, n := range w.node {
			n.stop()
		}
		w.wg.Wait()
	})
	return w
}

func testLog(t *testing.T) *slog.Logger {
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
	go func(rec cluster.StoreRecord, rev cluster.Rev) {
		defer w.wg.Done()
		for _, n := range w.node {
			if s := n.running(); s != nil {
				s.RecordSeen(rec, rev, rev)
			}
		}
	}(w.rec.Clone(), w.rev)
	return true, w.rev, nil
}

// Dial implements Peers.
func (n *node) Dial(_ context.Context, m cluster.Machine, _ cluster.Store, from, to cluster.SlotID) (net.Conn, error) {
	for _, other := range n.world.node {
		s := other.running()
		if other.cfg.Slot != to || s == nil {
			continue
		}
		here, there := net.Pipe()
		n.world.wg.Add(1)
		go func() {
			defer n.world.wg.Done()
			_ = s.Accept(context.Background(), from, there)
		}()
		return here, nil
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
	limit := time.After(20 * time.Second)
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
			return fmt.Errorf("in sync: %v", rec.InSync)
		}
		return nil
	})
}

const accountText = "0102030405060708090a0b0c0d0e0f10"

var accountID = mail.AccountID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

func deliverOne(t *testing.T, n *node, number byte, octets string) state.RecipientOutcome {
	t.Helper()
	out, err := n.Deliver(t.Context(), Delivery{
		Transaction: mail.TransactionID{number}, Octets: []byte(octets),
		Recipients: []state.Recipient{{Account: accountID, Prefix: []byte("Delivered-To: a\r\n")}},
	})
	if err != nil || len(out) != 1 || out[0].Code != state.Done {
		t.Fatalf("deliver: %+v, %v", out, err)
	}
	return out[0]
}

func contents(t *testing.T, n *node) []string {
	t.Helper()
	v, err := n.Account(accountID).View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	inbox, err := v.Lookup("inbox")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for msg, err := range v.Messages(inbox.ID, 1, inbox.UIDNext) {
		if err != nil {
			t.Fatal(err)
		}
		c, err := v.Open(t.Context(), msg)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, c.Size())
		if _, err := c.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b))
	}
	return got
}

func TestDeliveredMailIsReadBackAfterReopening(t *testing.T) {
	w := newWorld(t, 1)
	w.node[0].start()
	n := w.lead(0)
	if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
		t.Fatal(err)
	}
	deliverOne(t, n, 1, "Subject: one\r\n\r\nbody\r\n")
	n.stop()
	n.start()
	w.lead(0)
	deliverOne(t, n, 2, "Subject: two\r\n\r\nbody\r\n")
	got := contents(t, n)
	if len(got) != 2 || got[0] != "Delivered-To: a\r\nSubject: one\r\n\r\nbody\r\n" {
		t.Errorf("contents %q", got)
	}
}

func TestReplicaTakesOverWithEverything(t *testing.T) {
	w := newWorld(t, 2)
	w.node[0].start()
	w.node[1].start()
	n := w.lead(0)
	w.inSync()
	if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
		t.Fatal(err)
	}
	for i := range byte(10) {
		deliverOne(t, n, i+1, fmt.Sprintf("Subject: %d\r\n\r\nbody\r\n", i))
	}
	n.stop()
	m := w.lead(1)
	if got := contents(t, m); len(got) != 10 {
		t.Errorf("%d messages after the failover", len(got))
	}
	deliverOne(t, m, 99, "Subject: after\r\n\r\n")
	w.node[0].start()
	w.inSync()
	w.eventually(func() error {
		a, errA := w.node[0].Digest(t.Context(), 0)
		b, errB := m.Digest(t.Context(), 0)
		if errA != nil || errB != nil || a != b {
			return fmt.Errorf("digests %+v, %v and %+v, %v", a, errA, b, errB)
		}
		return nil
	})
}

func TestSwitchoverLosesNothingAndHoldsWriters(t *testing.T) {
	w := newWorld(t, 2)
	w.node[0].start()
	w.node[1].start()
	n := w.lead(0)
	w.inSync()
	if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
		t.Fatal(err)
	}
	deliverOne(t, n, 1, "Subject: before\r\n\r\n")
	start := time.Now()
	if err := n.SwitchTo(t.Context(), w.node[1].cfg.Slot, 0); err != nil {
		t.Fatal(err)
	}
	if err := w.node[1].AwaitServing(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	t.Logf("switched in %v", time.Since(start))
	deliverOne(t, w.node[1], 2, "Subject: after\r\n\r\n")
	if got := contents(t, w.node[1]); len(got) != 2 {
		t.Errorf("contents %q", got)
	}
	w.inSync()
}
