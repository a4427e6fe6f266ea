package remote

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/host"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/mail/mailtest"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/slot"
)

// lone is a store of one slot in memory. It is its own record and has no peers.
type lone struct {
	*slot.Slot

	mu  sync.Mutex
	rec cluster.StoreRecord
	rev cluster.Rev
}

func (l *lone) Read(context.Context) (cluster.StoreRecord, cluster.Rev, cluster.Rev, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rec.Clone(), l.rev, l.rev, nil
}

func (l *lone) Swap(_ context.Context, rev cluster.Rev, next cluster.StoreRecord) (bool, cluster.Rev, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rev != l.rev {
		return false, 0, nil
	}
	l.rec = next.Clone()
	l.rev++
	return true, l.rev, nil
}

var errAlone = errors.New("there is nobody else")

func (l *lone) Dial(context.Context, cluster.Machine, cluster.Store, cluster.SlotID, cluster.SlotID) (net.Conn, error) {
	return nil, errAlone
}

func (l *lone) DialSeed(context.Context, cluster.Machine, cluster.Store, cluster.SlotID, cluster.SlotID) (net.Conn, error) {
	return nil, errAlone
}

func (l *lone) Body(context.Context, cluster.Machine, cluster.Store, cluster.SlotID, cluster.SlotID, mail.BodyID) (io.ReadCloser, error) {
	return nil, errAlone
}

func (l *lone) MayGoAlone(context.Context, cluster.Machine, cluster.SlotID) replica.Verdict {
	return replica.GoAlone
}

// Standing implements host.Slot.
func (l *lone) Standing() host.Standing {
	st := l.Status()
	return host.Standing{Serving: st.Serving, Epoch: st.Epoch, Known: st.Record.Epoch, Master: st.Record.MachineOf(st.Record.Master)}
}

// serving runs a slot until it is master.
func serving(t *testing.T) *lone {
	id := cluster.SlotID{1}
	l := &lone{rev: 1, rec: cluster.StoreRecord{Store: "s1", Nonce: "first", Slots: []cluster.SlotRef{{Slot: id, Machine: "m1"}}}}
	start := time.Now()
	cfg := slot.Config{
		Cluster: "test", Store: "s1", Slot: id, Machine: "m1", Meta: "/meta", Spool: "/spool",
		FS: vfs.NewMem(), Disk: disk.New(disk.Config{}), Records: l, Peers: l,
		Clock: func() time.Duration { return time.Since(start) }, Now: time.Now, Rand: rand.Reader, Log: quiet, SegmentSize: 1 << 20,
	}
	if err := slot.Create(cfg); err != nil {
		t.Fatal(err)
	}
	l.Slot = slot.New(cfg)
	l.RecordSeen(l.rec.Clone(), 1, 1)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended // ctx's error
	})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(20 * time.Second); !l.Standing().Serving; {
		select {
		case <-tick.C:
			_ = l.Nominate(replica.Nominate{}) // it may refuse while it opens
		case <-limit:
			t.Fatalf("no master: %+v", l.Status())
		}
	}
	return l
}

func TestRemoteAccountOfASlotHoldsTheContractOfAccounts(t *testing.T) {
	l := serving(t)
	r := newRig(t)
	r.serve(ServerConfig{Slot: func(cluster.Store) (host.Slot, error) { return l, nil }})
	mailtest.Run(t, func(t *testing.T) mail.Account {
		var id mail.AccountID
		_, _ = rand.Read(id[:]) // never fails
		if err := l.CreateAccount(t.Context(), id.String(), 0); err != nil {
			t.Fatal(err)
		}
		return r.accounts.elsewhere("s1", id)
	})
}
