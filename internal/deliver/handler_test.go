package deliver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/state"
)

func TestEveryErrorOfASlotHasAStatus(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Status
	}{
		{nil, Done},
		{mail.ErrMoved, Moved},
		{cluster.ErrBehind, Moved},
		{cluster.ErrNotMaster, Moved},
		{cluster.ErrStopped, Moved},
		{mail.ErrBusy, Busy},
		{errors.Join(mail.ErrBusy, mail.ErrUnknown), Busy},
		{mail.ErrUnknown, Unknown},
		{cluster.ErrUnknown, Unknown},
		{context.DeadlineExceeded, Unknown},
		{context.Canceled, Unknown},
		{mail.ErrFull, Full},
		{cluster.ErrFull, Full},
		{mail.ErrTooLarge, Failed},
		{errors.New("a bug"), Failed},
	} {
		err := c.err
		if err != nil {
			err = fmt.Errorf("deliver: %w", err)
		}
		if got := statusOf(err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

// lone is a store of one slot in memory. It is its own record and has no peers.
type lone struct {
	mu  sync.Mutex
	rec cluster.StoreRecord
	rev cluster.Rev
	*slot.Slot
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

func (l *lone) Dial(context.Context, cluster.Machine, cluster.Store, cluster.SlotID, cluster.SlotID) (net.Conn, error) {
	return nil, errors.New("there is nobody else")
}

func (l *lone) DialSeed(context.Context, cluster.Machine, cluster.Store, cluster.SlotID, cluster.SlotID) (net.Conn, error) {
	return nil, errors.New("there is nobody else")
}

func (l *lone) Body(context.Context, cluster.Machine, cluster.Store, cluster.SlotID, cluster.SlotID, mail.BodyID) (io.ReadCloser, error) {
	return nil, errors.New("there is nobody else")
}

func (l *lone) MayGoAlone(context.Context, cluster.Machine, cluster.SlotID) replica.Verdict {
	return replica.GoAlone
}

var account = mail.AccountID{1}

// newLone runs a slot that is not the master yet.
func newLone(t *testing.T) *lone {
	id := cluster.SlotID{1}
	l := &lone{rev: 1, rec: cluster.StoreRecord{Store: "s01", Nonce: "first", Slots: []cluster.SlotRef{{Slot: id, Machine: "m1"}}}}
	start := time.Now()
	cfg := slot.Config{
		Cluster: "test", Store: "s01", Slot: id, Machine: "m1", Meta: "/meta", Spool: "/spool",
		FS: vfs.NewMem(), Disk: disk.New(disk.Config{}), Records: l, Peers: l,
		Clock: func() time.Duration { return time.Since(start) }, Now: time.Now, Rand: rand.Reader,
		Log: slog.New(slog.DiscardHandler), SegmentSize: 1 << 20,
	}
	if err := slot.Create(cfg); err != nil {
		t.Fatal(err)
	}
	l.Slot = slot.New(cfg)
	l.RecordSeen(l.rec.Clone(), 1, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

// lead makes it the master, with one account.
func (l *lone) lead(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for l.Status().Epoch == 0 || !l.Status().Serving {
		_ = l.Nominate(replica.Nominate{}) // it may refuse while it opens
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the slot never served: %+v", l.Status())
		}
	}
	if err := l.CreateAccount(ctx, account.String(), 0); err != nil {
		t.Fatal(err)
	}
}

// TestOnlyTheMasterOfTheEpochDelivers runs requests through the octets, against a
// real slot.
func TestOnlyTheMasterOfTheEpochDelivers(t *testing.T) {
	l := newLone(t)
	h := &Handler{Log: slog.New(slog.DiscardHandler), Slot: func(s cluster.Store) (*slot.Slot, error) {
		if s != "s01" {
			return nil, cluster.ErrNotMaster
		}
		return l.Slot, nil
	}}
	ask := func(b []byte) Response {
		t.Helper()
		out, err := h.Handle(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := decodeResponse(out)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	deliver := func(store cluster.Store, epoch cluster.Epoch) Response {
		t.Helper()
		q := Request{
			Store: store, Epoch: epoch, Transaction: mail.TransactionID{7}, wait: 20 * time.Second, Octets: []byte("Subject: x\r\n\r\n"),
			Recipients: []state.Recipient{{Number: 0, Account: account}, {Number: 1, Account: mail.AccountID{99}}},
		}
		return ask(append(q.appendHead(nil), q.Octets...))
	}
	probed := func(epoch cluster.Epoch) Status { return ask((&probe{"s01", epoch}).append(nil)).Status }
	ref := []state.DeliveryRef{{Account: account, Transaction: mail.TransactionID{7}}}
	settle := Settle{Store: "s01", Confirmed: ref}

	if r := deliver("s01", 0); r.Status != Moved {
		t.Errorf("before it was master: %+v", r)
	}
	if probed(0) != Moved || ask(settle.append(nil)).Status != Moved {
		t.Error("before it was master: probe or settle taken")
	}
	l.lead(t)
	if r := deliver("elsewhere", 1); r.Status != Moved {
		t.Errorf("a store that is not here: %+v", r)
	}
	if r := deliver("s01", 2); r.Status != Moved || r.Epoch != 1 || r.Master != "m1" {
		t.Errorf("behind the router's epoch: %+v", r)
	}
	if probed(2) != Moved || probed(1) != Done {
		t.Error("probe does not look at the epoch")
	}
	first := deliver("s01", 1)
	if first.Status != Done || len(first.Results) != 2 || first.Results[0].UID == 0 || first.Results[0].Code != state.Done ||
		first.Results[1].Number != 1 || first.Results[1].Code != state.NoAccount {
		t.Fatalf("delivery: %+v", first)
	}
	if again := deliver("s01", 1); again.Status != Done || again.Results[0] != first.Results[0] {
		t.Errorf("the same transaction again: %+v, first %+v", again, first)
	}
	if r := ask(settle.append(nil)); r.Status != Done {
		t.Errorf("settle: %+v", r)
	}
}

func TestARoutersTimeBoundsItsRequest(t *testing.T) {
	l := newLone(t)
	l.lead(t)
	h := &Handler{Log: slog.New(slog.DiscardHandler), Slot: func(cluster.Store) (*slot.Slot, error) { return l.Slot, nil }}
	q := Request{Store: "s01", Epoch: 1, wait: time.Nanosecond, Recipients: []state.Recipient{{Account: account}}}
	if r := h.Deliver(t.Context(), q); r.Status == Done || r.Status == Failed {
		t.Errorf("a request out of time: %+v", r)
	}
}
