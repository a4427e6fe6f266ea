package state

import (
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

func (h *harness) command(a mail.AccountID, number uint64, op mail.Op) Outcome {
	h.t.Helper()
	return h.apply(h.build.Propose(a, mail.Request{ID: mail.OpID{Session: mail.SessionID{1}, Number: number}, Op: op}))
}

func TestSilentSessionIsForgottenAfterAnHour(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	h.command(a, 1, mail.Create{Name: "x"})
	h.now = h.now.Add(50 * time.Minute)
	h.command(a, 2, mail.Create{Name: "y"})
	h.now = h.now.Add(50 * time.Minute) // the first entry of the queue is due, the session is not
	h.do(a, mail.Create{Name: "z"})
	equal(t, "repeated", h.command(a, 2, mail.Create{Name: "y"}).Repeated, true)
	h.now = h.now.Add(11 * time.Minute)
	h.do(a, mail.Create{Name: "w"})
	equal(t, "commands", h.keys(a, kindCommand), 0)
	equal(t, "queue", h.keys(a, kindExpiry), 0)
	equal(t, "again", h.command(a, 2, mail.Create{Name: "y"}).Code, Exists)
	h.audit()
}

func TestOldTombstonesGoAndTheFloorRises(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	h.add(a, "INBOX", mail.Deleted, mail.Deleted, mail.Deleted)
	box := h.box(a, "INBOX").ID
	first := h.do(a, mail.Expunge{Mailbox: box, UIDs: mail.UIDSet{{Lo: 1, Hi: 1}}})
	h.now = h.now.Add(30*24*time.Hour - time.Second)
	second := h.do(a, mail.Expunge{Mailbox: box, UIDs: mail.UIDSet{{Lo: 2, Hi: 2}}})
	equal(t, "floor within 30 days", h.box(a, "INBOX").TombstoneFloor, 0)
	h.now = h.now.Add(time.Second)
	h.do(a, mail.Expunge{Mailbox: box, UIDs: everyUID})
	equal(t, "floor", h.box(a, "INBOX").TombstoneFloor, first.ModSeq)
	expunged := func(since mail.ModSeq) (n int, err error) {
		for _, err := range h.view(a).Expunged(box, since) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	if _, err := expunged(first.ModSeq - 1); !errors.Is(err, mail.ErrBelowFloor) {
		t.Errorf("below the floor: %v", err)
	}
	if n, err := expunged(first.ModSeq); n != 2 || err != nil {
		t.Errorf("at the floor: %d, %v", n, err)
	}
	if n, err := expunged(second.ModSeq); n != 1 || err != nil {
		t.Errorf("after the second: %d, %v", n, err)
	}
}

func TestDeletedMailboxIsPurgedInBoundedSteps(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	h.do(a, mail.Create{Name: "x"})
	const n = purgeUnits + 300
	for range n / 100 {
		h.add(a, "x", make([]mail.Flags, 100)...)
	}
	gone := h.box(a, "x").ID
	h.do(a, mail.Copy{From: h.box(a, "x").ID, UIDs: mail.UIDSet{{Lo: 1, Hi: 10}}, To: h.box(a, "INBOX").ID})
	h.do(a, mail.Delete{Name: "x"})
	at := mail.InstantOf(h.now)
	h.now = h.now.Add(365 * 24 * time.Hour)
	h.do(a, mail.Create{Name: "y"}) // no operation but Purge removes it
	h.purge(a, at-1)
	equal(t, "bodies before", h.bodies(), n)
	equal(t, "more", h.purge(a, at).Result.More, true)
	equal(t, "bodies after one operation", h.bodies(), n-purgeUnits+10)
	equal(t, "half of it comes back", h.undelete(a, Undelete{Mailbox: gone, Name: "x"}).Code, NoMailbox)
	h.audit()
	equal(t, "more", h.purge(a, at).Result.More, false)
	equal(t, "bodies at the end", h.bodies(), 10)
	equal(t, "mailboxes", h.keys(a, kindMailbox), 7)
	equal(t, "queue", h.keys(a, kindRetained), 0)
	h.audit()
}

func TestDeletedAccountIsPurgedWhole(t *testing.T) {
	h := newHarness(t)
	a, b := h.account(mail.AccountID{1}), h.account(mail.AccountID{2})
	h.add(a, "INBOX", 0, 0)
	h.add(b, "INBOX", 0)
	h.command(a, 1, mail.Subscribe{Name: "x", On: true})
	h.apply(h.build.DeleteAccount(mail.Actor{}, a))
	if _, err := NewView(h.kv, a, nil, nil); !errors.Is(err, mail.ErrNoAccount) {
		t.Errorf("view of a deleted account: %v", err)
	}
	equal(t, "append", h.try(a, mail.Create{Name: "x"}).Code, NoAccount)
	equal(t, "create again", h.apply(h.build.CreateAccount(mail.Actor{}, a, NewAccount{})).Code, Exists)
	equal(t, "more", h.purge(a, mail.InstantOf(h.now)).Result.More, false)
	lo, hi := AccountRange(a)
	for k := range h.kv.Scan(lo, hi) {
		t.Errorf("left: %q", k)
	}
	equal(t, "bodies", h.bodies(), 1)
	equal(t, "create after the purge", h.apply(h.build.CreateAccount(mail.Actor{}, a, NewAccount{})).Code, Done)
	h.audit()
}

func TestTimeNeverGoesBackWithinAnAccount(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	h.add(a, "INBOX", 0)
	h.now = h.now.Add(-time.Hour)
	h.add(a, "INBOX", 0)
	v := h.view(a)
	for m, err := range v.Messages(h.box(a, "INBOX").ID, 1, 9) {
		if err != nil || m.SaveDate != mail.InstantOf(testTime) {
			t.Errorf("saved at %v, %v", m.SaveDate.Time(), err)
		}
	}
}

func TestForkPutsAllNumbersOutOfReach(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	untouched := h.account(mail.AccountID{2})
	h.add(a, "INBOX", 0, mail.Deleted)
	h.add(untouched, "INBOX", 0)
	old, before := h.box(a, "INBOX"), func() mail.AccountInfo { i, _ := h.view(a).Account(); return i }()
	h.apply(h.build.Fork(mail.Actor{}, 0))
	h.apply(h.build.Fork(mail.Actor{}, 0))

	seen := h.box(a, "INBOX") // the account was not touched yet
	after, _ := h.view(a).Account()
	equal(t, "fork", after.Fork, before.Fork+2)
	equal(t, "account MODSEQ", after.ModSeq, before.ModSeq+2<<40)
	equal(t, "UIDNEXT", seen.UIDNext, old.UIDNext+2<<20)
	equal(t, "UIDVALIDITY", seen.UIDValidity, old.UIDValidity)
	equal(t, "HIGHESTMODSEQ", seen.HighestModSeq, after.ModSeq)
	changed := 0
	for f, err := range h.view(a).Flags(old.ID, 1, 1<<32-1, old.HighestModSeq) {
		if changed++; err != nil || f.ModSeq != after.ModSeq {
			t.Errorf("UID %d at %d, %v", f.UID, f.ModSeq, err)
		}
	}
	equal(t, "changed messages", changed, 2)
	var tombs []mail.Tombstone
	for tomb, err := range h.view(a).Expunged(old.ID, old.HighestModSeq) {
		if err != nil {
			t.Fatal(err)
		}
		tombs = append(tombs, tomb)
	}
	if len(tombs) != 1 || tombs[0].UIDs.String() != "3:2097154" {
		t.Errorf("tombstones %v", tombs)
	}

	res := h.add(a, "INBOX", 0) // now it happens to the account
	equal(t, "first UID", res.UIDs.String(), "2097155")
	equal(t, "MODSEQ", res.ModSeq, after.ModSeq+1)
	now := h.box(a, "INBOX")
	equal(t, "tombstone floor", now.TombstoneFloor, seen.TombstoneFloor)
	since := after.ModSeq - 1
	got := h.do(a, mail.Store{Mailbox: old.ID, UIDs: everyUID, Mode: mail.AddFlags, Flags: mail.Flagged, UnchangedSince: &since})
	equal(t, "modified", got.Modified.String(), "1:2,2097155")
	h.audit()
}

func TestForkHappensOnceEvenIfTheFirstOperationIsRefused(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	h.command(a, 1, mail.Create{Name: "x"})
	h.apply(h.build.Fork(mail.Actor{}, 0))
	want := h.box(a, "INBOX")
	equal(t, "repeated", h.command(a, 1, mail.Create{Name: "x"}).Repeated, true)
	equal(t, "refused", h.apply(h.build.CreateAccount(mail.Actor{}, a, NewAccount{})).Code, Exists)
	h.apply(h.build.Freeze(mail.Actor{}, a, true, ""))
	equal(t, "frozen", h.try(a, mail.Create{Name: "y"}).Code, Frozen)
	got := h.box(a, "INBOX")
	if got.UIDNext != want.UIDNext || got.HighestModSeq != want.HighestModSeq {
		t.Errorf("INBOX is %+v, want %+v", got, want)
	}
	h.audit()
}

func TestSlotLearnsWhatToPurge(t *testing.T) {
	h := newHarness(t)
	a, b, c := h.account(mail.AccountID{1}), h.account(mail.AccountID{2}), h.account(mail.AccountID{3})
	h.command(b, 1, mail.Create{Name: "x"}) // is remembered for an hour
	h.apply(h.build.DeleteAccount(mail.Actor{}, a))
	var ids []mail.AccountID
	for id, err := range Accounts(h.kv) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	equal(t, "accounts", fmt.Sprint(ids), fmt.Sprint([]mail.AccountID{b, c}))
	for _, id := range []mail.AccountID{b, c} { // that they were created is not kept for ever either
		h.apply(h.build.Purge(mail.Actor{}, id, Purge{History: mail.InstantOf(h.now)}))
		equal(t, "history", h.keys(id, kindHistory), 0)
	}
	const week = 7 * 24 * time.Hour
	for after, want := range map[time.Duration][]mail.AccountID{
		time.Hour - 1000: nil, time.Hour: {b}, week - 1000: {b}, week: {a, b},
	} {
		now := mail.InstantOf(h.now.Add(after))
		due, last, err := Due(h.kv, mail.AccountID{}, 10, now, now-mail.Instant(week/time.Microsecond))
		if err != nil || fmt.Sprint(due) != fmt.Sprint(want) || !last.IsZero() {
			t.Errorf("due after %v: %v up to %v, %v; want %v", after, due, last, err, want)
		}
	}
	later, before := mail.InstantOf(h.now.Add(week)), mail.InstantOf(h.now)
	due, last, err := Due(h.kv, mail.AccountID{}, 1, later, before)
	equal(t, "a look at one", fmt.Sprint(due, last, err), fmt.Sprint([]mail.AccountID{a}, a, nil))
	due, last, err = Due(h.kv, last, 2, later, before)
	equal(t, "a look at two more", fmt.Sprint(due, last, err), fmt.Sprint([]mail.AccountID{b}, c, nil))
	due, last, err = Due(h.kv, last, 2, later, before)
	equal(t, "behind the last", fmt.Sprint(due, last, err), fmt.Sprint([]mail.AccountID(nil), mail.AccountID{}, nil))
	h.apply(h.build.Freeze(mail.Actor{}, b, true, "move"))
	due, _, err = Due(h.kv, mail.AccountID{}, 10, later, before)
	equal(t, "while one is frozen", fmt.Sprint(due, err), fmt.Sprint([]mail.AccountID{a}, nil))
	h.apply(h.build.Freeze(mail.Actor{}, b, false, ""))
	h.purge(a, before)
	due, _, err = Due(h.kv, mail.AccountID{}, 10, later, before)
	equal(t, "after the purge", fmt.Sprint(due, err), fmt.Sprint([]mail.AccountID{b}, nil))
}

func TestViewOfAForkIsWhatBecomesOfIt(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	h.add(a, "Sent", 0, 0)
	// So far on that UIDs would pass 2^31: then the UIDVALIDITY changes instead.
	for range 3000 {
		h.apply(h.build.Fork(mail.Actor{}, 0))
	}
	list := func() (boxes []mail.MailboxInfo) {
		for m, err := range h.view(a).Mailboxes() {
			if err != nil {
				t.Fatal(err)
			}
			m.Subscribed, m.Keywords = false, nil
			boxes = append(boxes, m)
		}
		return boxes
	}
	before := list()
	h.do(a, mail.SetQuota{LimitMessages: 7})
	for i, m := range list() {
		b := before[i]
		if m.ID != b.ID || m.UIDValidity != b.UIDValidity || m.UIDNext != b.UIDNext || m.HighestModSeq != b.HighestModSeq {
			t.Errorf("became %+v, was shown as %+v", m, b)
		}
	}
	validity := map[mail.UIDValidity]bool{}
	for _, m := range before {
		if validity[m.UIDValidity] {
			t.Errorf("UIDVALIDITY %d twice", m.UIDValidity)
		}
		validity[m.UIDValidity] = true
	}
}

func TestRecentMarkOnlyRisesAndIsNoChange(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	box := h.box(a, "INBOX").ID
	before, _ := Digest(h.kv, a)
	h.apply(h.build.Recent(a, box, "u", 5))
	h.apply(h.build.Recent(a, box, "u", 3))
	uid, err := h.view(a).Recent(box, "u")
	if uid != 5 || err != nil {
		t.Errorf("recent %d, %v", uid, err)
	}
	after, _ := Digest(h.kv, a)
	equal(t, "digest", after, before)
}

func TestNewerOperationsStopAndChangeNothing(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	sum := h.digest()
	p, err := h.build.Propose(a, mail.Request{Op: mail.Create{Name: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	p.Op.Level = uint32(cluster.CurrentLevel) + 1
	if _, err := Apply(h.kv, 1, cluster.CurrentLevel, p.Op); !errors.Is(err, cluster.ErrNewer) {
		t.Errorf("operation of a higher level: %v", err)
	}
	p.Op.Level = uint32(cluster.CurrentLevel)
	if _, err := Apply(h.kv, 1, cluster.CurrentLevel+1, p.Op); !errors.Is(err, cluster.ErrNewer) {
		t.Errorf("cluster of a higher level: %v", err)
	}
	equal(t, "digest", h.digest(), sum)
}

// failingKV fails every call from the n-th on.
type failingKV struct {
	*MapKV
	left int
	err  error
}

var errDisk = errors.New("disk on fire")

func (f *failingKV) fails() bool {
	if f.left--; f.left < 0 {
		f.err = errDisk
	}
	return f.err != nil
}

func (f *failingKV) Get(k []byte) ([]byte, error) {
	if f.fails() {
		return nil, errDisk
	}
	return f.MapKV.Get(k)
}

func (f *failingKV) Set(k, v []byte) error {
	if f.fails() {
		return errDisk
	}
	return f.MapKV.Set(k, v)
}

func (f *failingKV) Delete(k []byte) error {
	if f.fails() {
		return errDisk
	}
	return f.MapKV.Delete(k)
}

func (f *failingKV) Scan(lo, hi []byte) iter.Seq2[[]byte, []byte] {
	if f.fails() {
		return func(func(k, v []byte) bool) {}
	}
	return f.MapKV.Scan(lo, hi)
}

func (f *failingKV) Err() error { return f.err }

func TestEveryFailureOfTheDatabaseIsReported(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	h.add(a, "INBOX", mail.Deleted, 0, mail.Deleted)
	h.command(a, 1, mail.Create{Name: "x/y"})
	inbox := h.box(a, "INBOX").ID
	for _, op := range []mail.Op{
		mail.Append{Mailbox: inbox, Messages: []mail.NewMessage{{Body: h.body("x"), Keywords: []string{"k"}}}},
		mail.Store{Mailbox: inbox, UIDs: everyUID, Flags: mail.Seen},
		mail.Expunge{Mailbox: inbox, UIDs: everyUID},
		mail.Move{From: inbox, UIDs: everyUID, To: h.box(a, "Sent").ID},
		mail.Create{Name: "q"},
		mail.Rename{From: "x", To: "z"},
		mail.Rename{From: "INBOX", To: "old"},
		mail.Delete{Name: "x/y"},
	} {
		p, err := h.build.Propose(a, mail.Request{ID: mail.OpID{Session: mail.SessionID{1}, Number: 2}, Op: op})
		if err != nil {
			t.Fatal(err)
		}
		o, err := operation.Decode(p.Encoded)
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; ; n++ {
			kv := &failingKV{MapKV: h.kv.Snapshot(), left: n}
			_, err := Apply(kv, h.at, cluster.CurrentLevel, o)
			if kv.err == nil {
				if err != nil || n < 5 {
					t.Errorf("%T with %d calls: %v", op, n, err)
				}
				break
			}
			if !errors.Is(err, errDisk) {
				t.Fatalf("%T, call %d failed: Apply says %v", op, n, err)
			}
		}
	}
}
