package slot

import (
	"context"
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// tcp connects slots over loopback.
func tcp(t testing.TB) func() (net.Conn, net.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var mu sync.Mutex
	return func() (net.Conn, net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		here, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return nil, nil, err
		}
		there, err := l.Accept()
		return here, there, err
	}
}

// onDisk is a store of slots on real files.
func onDisk(t testing.TB, slots int) *world {
	w := newWorld(t, 0)
	w.connect = tcp(t)
	shared := index.NewShared(64<<20, 1000)
	dir := t.TempDir()
	for i := range slots {
		w.add(Config{
			Slot: cluster.SlotID{byte(i + 1)}, Machine: cluster.Machine(fmt.Sprintf("m%d", i+1)), FS: vfs.Default, Shared: shared,
			Meta: filepath.Join(dir, fmt.Sprintf("meta%d", i)), Spool: filepath.Join(dir, fmt.Sprintf("spool%d", i)),
		})
	}
	return w
}

func benchAccount(i int) mail.AccountID { return mail.AccountID{0: 0xbe, 15: byte(i)} }

const benchAccounts = 20

// BenchmarkDeliver delivers messages of 4 KiB to 20 accounts from so many callers
// at once.
func BenchmarkDeliver(b *testing.B) {
	for _, slots := range []int{1, 2} {
		for _, callers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("slots=%d/callers=%d", slots, callers), func(b *testing.B) {
				w := onDisk(b, slots)
				for _, n := range w.node {
					n.start()
				}
				n := w.lead(0)
				if slots > 1 {
					w.inSync()
				}
				for i := range benchAccounts {
					if err := n.CreateAccount(b.Context(), benchAccount(i).String(), 0); err != nil {
						b.Fatal(err)
					}
				}
				deliverMany(b, w, callers)
			})
		}
	}
}

// BenchmarkMove moves bodies of 4 KiB from the journal to packs, without holding back.
func BenchmarkMove(b *testing.B) {
	w := onDisk(b, 1)
	n := w.node[0]
	n.cfg.Hurry.Move = time.Hour
	n.start()
	w.lead(0)
	for i := range benchAccounts {
		if err := n.CreateAccount(b.Context(), benchAccount(i).String(), 0); err != nil {
			b.Fatal(err)
		}
	}
	deliverSome(b, n, 64, b.N)
	m, before := n.handMover(), cpu(b)
	b.ResetTimer()
	if _, err := m.moveAll(b.Context(), n.current().index.Applied().LSN); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if packed, _, _ := n.located(b); packed != b.N {
		b.Fatalf("%d of %d bodies moved", packed, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

func deliverMany(b *testing.B, w *world, callers int) {
	n := w.node[0]
	syncs := func() (total float64) {
		for _, n := range w.node {
			total += float64(n.cfg.Disk.Stats().Syncs)
		}
		return total
	}
	syncsBefore, cpuBefore, countsBefore := syncs(), cpu(b), n.Counts()
	b.ResetTimer()
	deliverSome(b, n, callers, b.N)
	b.StopTimer()
	ops := float64(b.N)
	b.ReportMetric(ops/b.Elapsed().Seconds(), "op/s")
	b.ReportMetric((syncs()-syncsBefore)/ops, "syncs/op")
	b.ReportMetric(float64((cpu(b)-cpuBefore).Microseconds())/ops, "cpu-µs/op")
	b.ReportMetric(ops/float64(max(1, n.Counts().Batches-countsBefore.Batches)), "op/batch")
}

// deliverSome delivers so many messages from so many callers.
func deliverSome(b *testing.B, n *node, callers, messages int) {
	octets := []byte("Subject: bench\r\nMessage-ID: <1@example>\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 57))
	var next atomic.Uint64
	var wg sync.WaitGroup
	for range callers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := next.Add(1); i <= uint64(messages); i = next.Add(1) {
				d := Delivery{Octets: octets, Recipients: []state.Recipient{
					{Account: benchAccount(int(i % benchAccounts)), Prefix: []byte("Delivered-To: x@example\r\n")},
				}}
				binary.BigEndian.PutUint64(d.Transaction[:], i)
				if _, err := n.Deliver(context.Background(), d); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	wg.Wait()
}

// cpu is the time this process has computed, kernel included.
func cpu(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkReopenAfterKill opens a slot whose process was killed after so many
// deliveries of 4 KiB: its index is as it was when Pebble last flushed.
func BenchmarkReopenAfterKill(b *testing.B) {
	const messages = 20_000
	w := newWorld(b, 1)
	n := w.node[0]
	n.cfg.SegmentSize = 0
	n.start()
	w.lead(0)
	for i := range benchAccounts {
		if err := n.CreateAccount(b.Context(), benchAccount(i).String(), 0); err != nil {
			b.Fatal(err)
		}
	}
	deliverSome(b, n, 64, messages)
	killed := n.cfg.FS.(*power).cut(100, mathrand.New(mathrand.NewPCG(1, 1)))
	n.stop()
	for b.Loop() {
		b.StopTimer()
		n.cfg.FS = newPower(killed.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: mathrand.New(mathrand.NewPCG(1, 1))}))
		s := New(n.cfg)
		b.StartTimer()
		inc, opened, err := s.open()
		if err != nil {
			b.Fatal(err)
		}
		at := inc.index.Applied().LSN
		for at < opened.Commit {
			if at, err = inc.applier.advance(at, opened.Commit); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		b.ReportMetric(float64(opened.Commit-opened.Applied)/1e6, "MB-replayed")
		if err := inc.close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
