package replica

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

var (
	slotA, slotB, slotC = cluster.SlotID{0xa}, cluster.SlotID{0xb}, cluster.SlotID{0xc}
	chain1, chain2      = cluster.Chain{1}, cluster.Chain{2}
)

// rig steps one Core and answers what a healthy machine answers at once.
type rig struct {
	t   *testing.T
	c   *Core
	now time.Duration
	rec cluster.StoreRecord
	rev cluster.Rev
	out []Effect // since the last take
	cut bool     // from the coordinator: reads stay unanswered
	bad bool     // its disk: syncs stay unanswered
}

// record names a master of epoch 3 and a set of up to three slots.
func record(master cluster.SlotID, inc cluster.Incarnation, set ...cluster.SlotID) cluster.StoreRecord {
	return cluster.StoreRecord{
		Store: "s01", Generation: 1, Epoch: 3, Master: master, Incarnation: inc, InSync: set, Nonce: "n",
		Slots: []cluster.SlotRef{{Slot: slotA, Machine: "ma"}, {Slot: slotB, Machine: "mb"}, {Slot: slotC, Machine: "mc"}},
	}
}

func newRig(t *testing.T, rec cluster.StoreRecord, o Opened) *rig {
	r := &rig{t: t, c: New(Config{Cluster: "c", Store: "s01", Slot: slotA}), now: time.Hour, rec: rec, rev: 10}
	o.Incarnation = 1
	if o.Counter == 0 {
		o.Counter = 1
	}
	r.step(o)
	return r
}

func (r *rig) step(e Event) {
	r.t.Helper()
	for _, f := range r.c.Step(r.now, e) {
		r.out = append(r.out, f)
		switch f := f.(type) {
		case ReadRecord:
			if r.cut {
				continue
			}
			r.step(RecordSeen{Read: f.Read, Record: r.rec, Rev: r.rev, CoordRev: r.rev})
		case KeepCounter:
			r.step(CounterKept(f))
		case AdoptEpoch:
			r.step(EpochDurable{f.Epoch})
		case Sync:
			if r.bad {
				continue
			}
			r.step(Durable{r.c.State().End.LSN})
		case ApplyTo:
			r.step(Applied(f))
		case AppendRecord:
			end := r.c.State().End.LSN
			r.step(Appended{Base: end, End: cluster.Position{LSN: end + 100, Epoch: f.Epoch, Chain: cluster.Chain{byte(end / 100), 7}}})
		}
	}
}

// take returns the effects of type E since the last take of any type.
func take[E Effect](r *rig) []E {
	var got []E
	for _, f := range r.out {
		if e, ok := f.(E); ok {
			got = append(got, e)
		}
	}
	r.out = nil
	return got
}

// sent returns the frames of type F since the last take.
func sent[F Frame](r *rig) []F {
	var got []F
	for _, s := range take[Send](r) {
		if f, ok := s.Frame.(F); ok {
			got = append(got, f)
		}
	}
	return got
}

// follower is slot A behind master B in epoch 3, journal to 300, commit 200.
func follower(t *testing.T) *rig {
	r := newRig(t, record(slotB, 2, slotB, slotA), Opened{
		End: cluster.Position{LSN: 300, Epoch: 2, Chain: chain1}, Commit: 200, Applied: 200, Adopted: 2,
		Starts: []EpochStart{{Epoch: 2}},
	})
	r.step(SessionUp{Session: 1, Peer: slotB})
	return r
}

func (r *rig) hello() Hello {
	r.t.Helper()
	h := sent[Hello](r)
	if len(h) != 1 {
		r.t.Fatalf("%d Hellos, want one", len(h))
	}
	return h[0]
}

func TestReplicaAcknowledgesOnlyWhatIsAPrefixOfTheMaster(t *testing.T) {
	r := follower(t)
	h := r.hello()
	r.step(FrameIn{1, Welcome{Stream: h.Stream, Epoch: 3, Start: cluster.Position{LSN: 300, Epoch: 2, Chain: chain2}}})
	if f := take[FailSlot](r); len(f) != 1 || f[0].Problem.Code != ChainMismatch {
		t.Errorf("a foreign chain at our end: %v, want %s", f, ChainMismatch)
	}
}

func TestReplicaNeverTruncatesBelowCommit(t *testing.T) {
	r := follower(t)
	h := r.hello()
	r.step(FrameIn{1, Welcome{Stream: h.Stream, Epoch: 3, Start: cluster.Position{LSN: 100, Epoch: 2, Chain: chain2}}})
	if cut := slices.ContainsFunc(r.out, func(e Effect) bool { _, ok := e.(Truncate); return ok }); cut {
		t.Error("truncated below commit")
	}
	if f := take[FailSlot](r); len(f) != 1 || f[0].Problem.Code != Diverged {
		t.Errorf("got %v, want %s", f, Diverged)
	}
}

func TestReplicaRefusesOldEpoch(t *testing.T) {
	r := follower(t)
	r.hello()
	r.step(FrameIn{1, Heartbeat{Stream: 1, Epoch: 2, Commit: 300}})
	r.step(FrameIn{1, Batch{Stream: 1, Epoch: 2, Base: 300, End: 400}})
	if got := r.c.State(); got.End.LSN != 300 || got.Commit != 200 {
		t.Errorf("obeyed a master of an old epoch: %v", got)
	}
	if rec := sent[Record](r); len(rec) != 1 || rec[0].Record.Epoch != 3 {
		t.Errorf("told the old master %v, want the record", rec)
	}
}

func TestFramesOfAnEarlierStreamAreIgnored(t *testing.T) {
	r := follower(t)
	h := r.hello()
	r.step(FrameIn{1, Welcome{Stream: h.Stream, Epoch: 3, Start: cluster.Position{LSN: 300, Epoch: 2, Chain: chain1}}})
	r.step(FrameIn{1, Batch{Stream: h.Stream - 1, Epoch: 3, Base: 300, End: 400}})
	if a := take[AppendRaw](r); len(a) != 0 {
		t.Errorf("appended %v", a)
	}
	r.step(FrameIn{1, Batch{Stream: h.Stream, Epoch: 3, Base: 300, End: 400}})
	if a := take[AppendRaw](r); len(a) != 1 {
		t.Error("did not append its own stream")
	}
}

func TestUsedOpenCounterFailsTheSlot(t *testing.T) {
	rec := record(slotB, 2, slotB)
	rec.Slots[0].Counter = 5
	r := newRig(t, rec, Opened{Counter: 5})
	if f := take[FailSlot](r); len(f) != 1 || f[0].Problem.Code != OlderDisk {
		t.Errorf("got %v, want %s", f, OlderDisk)
	}
}

func TestAnIllegalStepFreezesAndExplains(t *testing.T) {
	r := follower(t)
	bad := record(slotC, 9, slotC)
	bad.Epoch = 4
	r.step(RecordSeen{Record: bad, Rev: 11, PrevRev: 10, CoordRev: 11})
	if f := take[Freeze](r); len(f) != 1 || f[0].Problem.Code != RecordIllegal || f[0].Problem.Text == "" {
		t.Errorf("got %v, want %s and a reason", f, RecordIllegal)
	}
	r.step(Nominate{})
	if p := take[ProposeRecord](r); len(p) != 0 {
		t.Error("a frozen slot proposed itself")
	}
}

func TestAMissedRevisionIsNoIllegalStep(t *testing.T) {
	r := follower(t)
	later := record(slotC, 9, slotC)
	later.Epoch = 7
	r.step(RecordSeen{Record: later, Rev: 20, PrevRev: 19, CoordRev: 20})
	if f := take[Freeze](r); len(f) != 0 {
		t.Errorf("froze: %v", f)
	}
}

// leader is slot A as serving master of epoch 4 with B in the set, both at 400.
func leader(t *testing.T) *rig {
	r := newRig(t, record(slotA, 9, slotA, slotB), Opened{
		End: cluster.Position{LSN: 300, Epoch: 2, Chain: chain1}, Commit: 300, Applied: 300, Adopted: 3,
		Starts: []EpochStart{{Epoch: 2}},
	})
	r.step(Nominate{})
	p := take[ProposeRecord](r)
	if len(p) != 1 {
		t.Fatalf("%d proposals, want one", len(p))
	}
	r.accept(p[0])
	r.join(1, 1)
	r.now += 2 * time.Second
	r.step(FrameIn{1, Ack{Stream: 1, Epoch: 4, Durable: 400, Applied: 400, Stamp: r.stamp()}})
	if s := r.c.State(); !s.Serving || s.Commit != 400 {
		t.Fatalf("not serving: %v", s)
	}
	r.out = nil
	return r
}

// accept answers a proposal with OK.
func (r *rig) accept(p ProposeRecord) {
	r.rev++
	r.rec = p.Record
	r.step(CASAnswered{Nonce: p.Record.Nonce, Outcome: OK, Record: r.rec, Rev: r.rev, CoordRev: r.rev})
}

// join brings B's session and handshake; its counter is proposed and accepted.
func (r *rig) join(s Session, stream uint64) {
	r.step(SessionUp{Session: s, Peer: slotB})
	r.out = nil
	r.step(FrameIn{s, Hello{
		Cluster: "c", Generation: 1, Store: "s01", Slot: slotB, Incarnation: 2, Counter: 1, Stream: stream, Epoch: 4,
		End: r.c.State().End, Commit: 300, Applied: 300, Starts: r.c.log.starts,
	}})
	for _, p := range take[ProposeRecord](r) {
		r.accept(p)
	}
}

func (r *rig) stamp() time.Duration { return r.c.master.stamp }

// write appends one batch of 100 octets.
func (r *rig) write() {
	end := r.c.State().End
	r.step(Appended{Base: end.LSN, End: cluster.Position{LSN: end.LSN + 100, Epoch: r.c.Epoch(), Chain: cluster.Chain{9, byte(end.LSN / 100)}}})
}

func TestAcksCountOnlyInTheirSession(t *testing.T) {
	r := leader(t)
	r.write()
	r.write()
	r.step(FrameIn{1, Ack{Stream: 1, Epoch: 4, Durable: 500}})
	if got := r.c.Commit(); got != 500 {
		t.Fatalf("commit %d, want 500", got)
	}
	r.step(SessionDown{1})
	r.step(FrameIn{1, Ack{Stream: 1, Epoch: 4, Durable: 600}})
	if got := r.c.Commit(); got != 500 {
		t.Errorf("commit %d by an acknowledgement of a dead session", got)
	}
	r.join(2, 2)
	if got := r.c.Commit(); got != 500 {
		t.Errorf("commit %d before the new session acknowledged anything", got)
	}
	r.step(FrameIn{2, Ack{Stream: 1, Epoch: 4, Durable: 600}})
	if got := r.c.Commit(); got != 500 {
		t.Errorf("commit %d by an acknowledgement of another stream", got)
	}
	r.step(FrameIn{2, Ack{Stream: 2, Epoch: 4, Durable: 600}})
	if got := r.c.Commit(); got != 600 {
		t.Errorf("commit %d, want 600", got)
	}
}

func TestAnOvertakenHelloIsIgnored(t *testing.T) {
	r := leader(t)
	r.join(2, 7)
	r.out = nil
	r.join(1, 6) // was on its way in the older session
	if w := sent[Welcome](r); len(w) != 0 {
		t.Errorf("welcomed an old Hello: %v", w)
	}
	r.write()
	r.step(FrameIn{2, Ack{Stream: 7, Epoch: 4, Durable: 500}})
	if got := r.c.Commit(); got != 500 {
		t.Errorf("commit %d, want 500: the later stream must count", got)
	}
}

func TestAMemberShortOfCommitIsToldToReseedAndRemoved(t *testing.T) {
	r := leader(t)
	r.step(SessionDown{1})
	r.step(SessionUp{Session: 2, Peer: slotB})
	r.out = nil
	r.step(FrameIn{2, Hello{
		Cluster: "c", Generation: 1, Store: "s01", Slot: slotB, Incarnation: 3, Counter: 2, Stream: 1, Epoch: 4,
		End: cluster.Position{LSN: 300, Epoch: 2, Chain: chain1}, Starts: []EpochStart{{Epoch: 2}},
	}})
	out := r.out
	if w := sent[Welcome](r); len(w) != 1 || w[0].Answer != Reseed {
		t.Errorf("got %v, want a reseed", w)
	}
	r.out = out
	if p := take[ProposeRecord](r); len(p) != 1 || p[0].Record.IsInSync(slotB) {
		t.Errorf("proposed %v, want B removed", p)
	}
}

func TestAMemberThatOnlyComesAgainLeaves(t *testing.T) {
	r := leader(t)
	end := r.c.State().End
	r.write()
	for range 20 { // its journal cannot be written: it opens again and again
		r.now += 300 * time.Millisecond
		r.step(SessionDown{1})
		r.step(SessionUp{Session: 1, Peer: slotB})
		r.step(FrameIn{1, Hello{
			Cluster: "c", Generation: 1, Store: "s01", Slot: slotB, Incarnation: 2, Counter: 1, Stream: r.c.master.peer(slotB).stream + 1, Epoch: 4,
			End: end, Commit: 300, Applied: 300, Starts: r.c.log.starts,
		}})
		r.step(FrameIn{1, Ack{Stream: r.c.master.peer(slotB).stream, Epoch: 4, Durable: 400, Stamp: r.stamp()}})
	}
	if ask := take[AskController](r); len(ask) == 0 || ask[0].Peer != slotB {
		t.Errorf("asked %v, want whether to go on without B", ask)
	}
}

func TestWindowBoundsBatchesInFlight(t *testing.T) {
	r := leader(t)
	for i := range maxInFlight {
		if err := r.c.CanAppend(r.now); err != nil {
			t.Fatalf("batch %d: %v", i, err)
		}
		r.write()
	}
	if err := r.c.CanAppend(r.now); !errors.Is(err, ErrWindow) {
		t.Errorf("got %v, want ErrWindow", err)
	}
}

func TestOnlyALinearizableReadUnseals(t *testing.T) {
	r := leader(t)
	r.step(SwitchTo{Target: slotB})
	p := take[ProposeRecord](r)
	if len(p) != 1 || p[0].Record.Master != slotB || r.c.master.lease != 0 {
		t.Fatalf("proposed %v with the lease at %v, want B and no lease", p, r.c.master.lease)
	}
	r.cut = true
	r.step(CASAnswered{Nonce: p[0].Record.Nonce, Outcome: Unknown})
	for range 100 {
		r.now += 100 * time.Millisecond
		r.step(FrameIn{1, Ack{Stream: 1, Epoch: 4, Durable: 400, Stamp: r.stamp()}})
	}
	if err := r.c.CanAppend(r.now); !errors.Is(err, ErrHeld) || r.c.master.lease != 0 {
		t.Fatalf("10 s after an unknown outcome: %v, lease %v; want held without lease", err, r.c.master.lease)
	}
	r.out = nil
	r.step(RecordSeen{Read: r.c.coord.reading, Record: r.rec, Rev: r.rev, CoordRev: r.rev})
	if p = take[ProposeRecord](r); len(p) != 1 || p[0].Record.Master != slotB {
		t.Fatalf("an unchanged record proves nothing, yet %v was proposed", p)
	}
	r.rev++ // somebody else's wish: our proposals are dead
	r.rec.Nonce = "wish"
	r.cut = false
	r.now += time.Second
	r.step(CASAnswered{Nonce: p[0].Record.Nonce, Outcome: Conflict})
	if err := r.c.CanAppend(r.now); err != nil {
		t.Errorf("after a linearizable read: %v", err)
	}
}

func TestDegradedStoreRefusesIfAskedTo(t *testing.T) {
	rec := record(slotA, 9, slotA)
	r := newRig(t, rec, Opened{End: cluster.Position{LSN: 300, Epoch: 2, Chain: chain1}, Commit: 300, Applied: 300, Adopted: 3, Starts: []EpochStart{{Epoch: 2}}})
	r.step(Nominate{})
	r.accept(take[ProposeRecord](r)[0])
	r.now += 2 * time.Second
	r.step(Tick{})
	if err := r.c.CanAppend(r.now); err != nil {
		t.Fatalf("degraded = accept: %v", err)
	}
	r.c.cfg.RefuseDegraded = true
	if err := r.c.CanAppend(r.now); !errors.Is(err, ErrDegraded) {
		t.Errorf("degraded = refuse: %v, want ErrDegraded", err)
	}
}

func TestAnOlderTailCommitsWithTheEpochStart(t *testing.T) {
	r := behind(t, record(slotB, 2, slotB, slotA), 2)
	r.bad = true
	r.step(Nominate{})
	r.accept(r.proposal())
	r.step(Durable{300})
	if got := r.c.Commit(); got != 200 || r.c.Epoch() != 4 {
		t.Errorf("master of epoch %d, its start not durable, committed %d; want 200", r.c.Epoch(), got)
	}
	r.step(Durable{400})
	if got := r.c.Commit(); got != 400 {
		t.Errorf("committed %d with the epoch start, want 400", got)
	}
}

func TestFailedSyncEndsTheIncarnation(t *testing.T) {
	r := leader(t)
	r.write()
	r.step(DiskFailed{Reason: "sync: input/output error"})
	if len(take[EndIncarnation](r)) != 1 {
		t.Error("the incarnation goes on")
	}
	if out := r.c.Step(r.now, Tick{}); out != nil {
		t.Errorf("an ended Core did %v", out)
	}
}

func TestCommonHistory(t *testing.T) {
	e := func(epoch cluster.Epoch, lsn cluster.LSN, c byte) EpochStart {
		return EpochStart{Epoch: epoch, LSN: lsn, Chain: cluster.Chain{c}}
	}
	for _, tc := range []struct {
		name string
		a, b history
		want cluster.LSN
		ok   bool
	}{
		{"both empty", history{}, history{}, 0, true},
		{"replica empty", history{0, []EpochStart{e(1, 0, 0)}, 500}, history{}, 0, true},
		{"replica shorter", history{0, []EpochStart{e(1, 0, 0)}, 500}, history{0, []EpochStart{e(1, 0, 0)}, 300}, 300, true},
		{"tail of an old epoch", history{0, []EpochStart{e(1, 0, 0), e(2, 200, 2)}, 500}, history{0, []EpochStart{e(1, 0, 0)}, 300}, 200, true},
		{"two new epochs", history{0, []EpochStart{e(1, 0, 0), e(3, 200, 2)}, 500}, history{0, []EpochStart{e(1, 0, 0), e(2, 250, 3)}, 300}, 200, true},
		{"same epoch, other chain", history{0, []EpochStart{e(1, 0, 0), e(2, 200, 2)}, 500}, history{0, []EpochStart{e(1, 0, 0), e(2, 200, 9)}, 300}, 200, true},
		{"master trimmed inside the epoch", history{100, []EpochStart{e(1, 100, 7)}, 500}, history{0, []EpochStart{e(1, 0, 0)}, 300}, 300, true},
		{"nothing left in common", history{400, []EpochStart{e(5, 400, 7)}, 500}, history{0, []EpochStart{e(1, 0, 0)}, 300}, 0, false},
	} {
		t.Run(strings.ReplaceAll(tc.name, " ", "-"), func(t *testing.T) {
			if got, ok := common(tc.a, tc.b); got != tc.want || ok != tc.ok {
				t.Errorf("got %d %v, want %d %v", got, ok, tc.want, tc.ok)
			}
		})
	}
}

func TestCursorKeepsASmallWindow(t *testing.T) {
	c := NewCursor(StartStream{From: 100})
	for c.Room() {
		c.Sent(c.Next + windowOctets)
	}
	if len(c.ends) != maxInFlight {
		t.Errorf("%d large batches in flight, want %d", len(c.ends), maxInFlight)
	}
	c.Acked(100 + windowOctets)
	if !c.Room() {
		t.Error("no room after an acknowledgement")
	}
}

func TestNomineeIsTheLongestOfTheSet(t *testing.T) {
	claim := func(id cluster.SlotID, e cluster.Epoch, lsn cluster.LSN) Claim {
		return Claim{id, State{Role: RoleReplica, Rev: 10, CoordRev: 10, End: cluster.Position{LSN: lsn, Epoch: e}}}
	}
	rec := record(slotA, 1, slotA, slotB)
	got, err := Nominee(rec, 10, 10, []Claim{claim(slotA, 2, 900), claim(slotB, 3, 400), claim(slotC, 3, 999)})
	if err != nil || got != slotB {
		t.Errorf("got %v, %v, want the slot with the newest epoch in the set", got, err)
	}
	ahead := claim(slotC, 3, 1)
	ahead.State.CoordRev = 11
	if got, err := Nominee(rec, 10, 10, []Claim{claim(slotB, 3, 400), ahead}); err == nil {
		t.Errorf("nominated %v although the coordinator went back", got)
	}
	if got, err := Nominee(rec, 10, 10, []Claim{claim(slotC, 3, 999)}); err == nil {
		t.Errorf("nominated %v from outside the set", got)
	}
}

func TestNoStreamBeginsBelowWhatWasTrimmed(t *testing.T) {
	r := leader(t)
	r.step(Trimmed{Low: 350})
	r.step(SessionUp{Session: 5, Peer: slotC})
	r.out = nil
	r.step(FrameIn{5, Hello{Cluster: "c", Generation: 1, Store: "s01", Slot: slotC, Incarnation: 8, Counter: 1, Stream: 1, Epoch: 4}})
	if w := sent[Welcome](r); len(w) != 1 || w[0].Answer != Reseed {
		t.Errorf("got %v, want a reseed", w)
	}
}

func BenchmarkWriteOnMaster(b *testing.B) {
	r := leader(&testing.T{})
	stream := cluster.LSN(400)
	b.ReportAllocs()
	for b.Loop() {
		r.c.Step(r.now, Appended{Base: stream, End: cluster.Position{LSN: stream + 100, Epoch: 4}})
		stream += 100
		r.c.Step(r.now, Durable{LSN: stream})
		r.c.Step(r.now, FrameIn{1, Ack{Stream: 1, Epoch: 4, Durable: stream}})
		r.c.Step(r.now, Applied{LSN: stream})
	}
}
