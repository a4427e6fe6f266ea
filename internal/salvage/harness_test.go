package salvage

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/snapshot"
	"github.com/tandemail/tandemail/internal/state"
)

// lone is a store of one slot in a directory of the real file system: dir/meta and dir/spool.
// It is its own coordinator and has no peers.
type lone struct {
	*slot.Slot
	t      testing.TB
	cfg    slot.Config
	cancel context.CancelFunc
	done   chan struct{}

	mu  sync.Mutex
	rec cluster.StoreRecord
	rev cluster.Rev
}

var (
	loneID = cluster.SlotID{7, 7}
	alice  = mail.AccountID{0xa, 1}
	bob    = mail.AccountID{0xb, 2}
)

func newLone(t testing.TB, dir string) *lone {
	l := &lone{t: t, rev: 1, rec: cluster.StoreRecord{Store: "s1", Nonce: "first", Slots: []cluster.SlotRef{{Slot: loneID, Machine: "m1"}}}}
	begun := time.Now()
	l.cfg = slot.Config{
		Cluster: "example", Store: "s1", Slot: loneID, Machine: "m1",
		Meta: filepath.Join(dir, "meta"), Spool: filepath.Join(dir, "spool"), FS: vfs.Default, Disk: disk.New(disk.Config{}),
		Records: l, Peers: l, Clock: func() time.Duration { return time.Since(begun) }, Now: time.Now, Rand: rand.Reader,
		Log: slog.New(slog.DiscardHandler), SegmentSize: 32 << 10,
	}
	t.Cleanup(l.stop)
	return l
}

// Read implements slot.Records.
func (l *lone) Read(context.Context) (cluster.StoreRecord, cluster.Rev, cluster.Rev, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rec.Clone(), l.rev, l.rev, nil
}

// Swap implements slot.Records.
func (l *lone) Swap(_ context.Context, rev cluster.Rev, next cluster.StoreRecord) (bool, cluster.Rev, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rev != l.rev {
		return false, 0, nil
	}
	l.rec = next.Clone()
	l.rev++
	go l.RecordSeen(next.Clone(), l.rev, l.rev)
	return true, l.rev, nil
}

// Dial implements slot.Peers.
func (l *lone) Dial(context.Context, cluster.Machine, cluster.Store, cluster.SlotID, cluster.SlotID) (net.Conn, error) {
	return nil, errors.New("alone")
}

func (l *lone) DialSeed(context.Context, cluster.Machine, cluster.Store, cluster.SlotID, cluster.SlotID) (net.Conn, error) {
	return nil, errors.New("alone")
}

// Body implements slot.Peers.
func (l *lone) Body(context.Context, cluster.Machine, cluster.Store, cluster.SlotID, cluster.SlotID, mail.BodyID) (io.ReadCloser, error) {
	return nil, errors.New("alone")
}

// MayGoAlone implements slot.Peers.
func (l *lone) MayGoAlone(context.Context, cluster.Machine, cluster.SlotID) replica.Verdict {
	return replica.GoAlone
}

// start runs the slot until it serves.
func (l *lone) start() {
	l.t.Helper()
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(context.Background())
	l.Slot, l.done = slot.New(l.cfg), make(chan struct{})
	l.RecordSeen(l.rec.Clone(), l.rev, l.rev)
	go func() { defer close(l.done); _ = l.Run(ctx) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(20 * time.Second); !l.Status().Serving; {
		_ = l.Nominate(replica.Nominate{}) // again at the next tick
		select {
		case <-tick.C:
		case <-limit:
			l.t.Fatalf("does not serve: %+v", l.Status())
		}
	}
}

func (l *lone) stop() {
	if l.cancel != nil {
		l.cancel()
		<-l.done
		l.cancel = nil
	}
}

// save writes a snapshot of what the stopped slot has, as a running one does.
func (l *lone) save() {
	l.t.Helper()
	db, err := index.Open(index.Config{FS: vfs.Default, Dir: filepath.Join(l.cfg.Meta, "index")})
	if err != nil {
		l.t.Fatal(err)
	}
	snap, err := db.Snapshot()
	if err != nil {
		l.t.Fatal(err)
	}
	remains, err := journal.OpenRemains(vfs.Default, filepath.Join(l.cfg.Meta, "journal"))
	if err != nil {
		l.t.Fatal(err)
	}
	store, _ := remains.StoreID()
	h := snapshot.Head{
		Cluster: "example", Store: "s1", StoreID: store, Slot: loneID,
		Position: snap.Applied(), Level: cluster.CurrentLevel, Time: time.Now().UTC(),
	}
	cfg := snapshot.Config{FS: vfs.Default, Dir: filepath.Join(l.cfg.Spool, "snapshots"), Disk: l.cfg.Disk, Rand: rand.Reader}
	_, err = snapshot.Write(cfg, h, snap.Scan(nil, nil), snap.Err)
	if err := errors.Join(err, snap.Close(), db.Close(), remains.Close()); err != nil {
		l.t.Fatal(err)
	}
}

// keep writes what the coordinator knows beside the slot, recall reads it.
func (l *lone) keep(path string) {
	b, err := json.MarshalIndent(kept{l.rec, l.rev}, "", "  ")
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lone) recall(path string) {
	b, err := os.ReadFile(path)
	var k kept
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.rec, l.rev = k.Record, k.Rev
}

type kept struct {
	Record cluster.StoreRecord `json:"record"`
	Rev    cluster.Rev         `json:"rev"`
}

func (l *lone) do(id mail.AccountID, op mail.Op) mail.Result {
	l.t.Helper()
	res, err := l.Account(id).Do(l.t.Context(), mail.Request{Op: op})
	if err != nil {
		l.t.Fatalf("%T: %v", op, err)
	}
	return res
}

func (l *lone) box(id mail.AccountID, name string) mail.MailboxInfo {
	l.t.Helper()
	v, err := l.Account(id).View(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	defer v.Close()
	b, err := v.Lookup(name)
	if err != nil {
		l.t.Fatalf("%s: %v", name, err)
	}
	return b
}

// deliver gives a message to some accounts.
func (l *lone) deliver(number byte, octets string, to ...mail.AccountID) {
	l.t.Helper()
	d := slot.Delivery{Transaction: mail.TransactionID{number}, Octets: []byte(octets)}
	for _, id := range to {
		prefix := "Return-Path: <>\r\nDelivered-To: " + addressOf(id) + "\r\n"
		d.Recipients = append(d.Recipients, state.Recipient{Account: id, Prefix: []byte(prefix)})
	}
	out, err := l.Deliver(l.t.Context(), d)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, o := range out {
		if o.Code != state.Done {
			l.t.Fatalf("delivery %d: %+v", number, o)
		}
	}
}

func addressOf(id mail.AccountID) string {
	if id == alice {
		return "alice@example.org"
	}
	return "bob@example.org"
}

// fill makes some history: deliveries, flags, moves, names.
func (l *lone) fill() {
	l.t.Helper()
	for _, id := range []mail.AccountID{alice, bob} {
		if err := l.CreateAccount(l.t.Context(), id.String(), 0); err != nil {
			l.t.Fatal(err)
		}
	}
	for i := range byte(6) {
		l.deliver(i+1, fmt.Sprintf("Subject: %d\r\n\r\nFrom here\r\n>From there\r\nnumber %d\r\n", i, i), alice, bob)
	}
	l.do(alice, mail.Create{Name: "a.b/ü & c"})
	inbox, sent, inner := l.box(alice, "INBOX"), l.box(alice, "Sent"), l.box(alice, "a.b/ü & c")
	l.do(alice, mail.Store{Mailbox: inbox.ID, UIDs: one(2), Mode: mail.AddFlags, Flags: mail.AllFlags, Keywords: []string{"$Forwarded", "work"}})
	l.do(alice, mail.Store{Mailbox: inbox.ID, UIDs: one(3), Mode: mail.AddFlags, Flags: mail.Seen})
	l.do(alice, mail.Move{From: inbox.ID, UIDs: one(3), To: sent.ID})
	l.do(alice, mail.Copy{From: inbox.ID, UIDs: one(2), To: inner.ID})
	l.do(alice, mail.Store{Mailbox: inbox.ID, UIDs: one(1), Mode: mail.AddFlags, Flags: mail.Deleted})
	l.do(alice, mail.Expunge{Mailbox: inbox.ID, UIDs: one(1)})
	l.append(alice, sent.ID, "Subject: an empty one\r\n\r\n")
}

func (l *lone) append(id mail.AccountID, box mail.MailboxID, octets string) {
	l.t.Helper()
	body, err := l.Account(id).Stage(l.t.Context(), strings.NewReader(octets), 10<<20)
	if err != nil {
		l.t.Fatal(err)
	}
	defer body.Close()
	l.do(id, mail.Append{Mailbox: box, Messages: []mail.NewMessage{{
		Body: body, Flags: mail.Draft, InternalDate: mail.InstantOf(time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)),
	}}})
}

func one(u mail.UID) mail.UIDSet { return mail.UIDSet{{Lo: u, Hi: u}} }

// stored is a message as its slot or a Maildir shows it.
type stored struct {
	UID      mail.UID
	Validity mail.UIDValidity
	Flags    mail.Flags
	Keywords string
	Date     int64 // seconds
	Octets   string
}

// all reads everything that an account has, by mailbox.
func (l *lone) all(id mail.AccountID) map[string][]stored {
	l.t.Helper()
	v, err := l.Account(id).View(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	defer v.Close()
	got := map[string][]stored{}
	for box, err := range v.Mailboxes() {
		if err != nil {
			l.t.Fatal(err)
		}
		if box.NonExistent {
			continue
		}
		got[box.Name] = nil
		for m, err := range v.Messages(box.ID, 1, box.UIDNext) {
			if err != nil {
				l.t.Fatal(err)
			}
			s := stored{UID: m.UID, Validity: box.UIDValidity, Date: m.InternalDate.Time().Unix()}
			for f := range v.Flags(box.ID, m.UID, m.UID, 0) {
				s.Flags, s.Keywords = f.Flags, strings.Join(keywords(box.Keywords, f.Keywords), " ")
			}
			c, err := v.Open(l.t.Context(), m)
			if err != nil {
				l.t.Fatal(err)
			}
			b := make([]byte, c.Size())
			if _, err := c.ReadAt(b, 0); err != nil {
				l.t.Fatal(err)
			}
			s.Octets = string(b)
			got[box.Name] = append(got[box.Name], s)
		}
	}
	return got
}
