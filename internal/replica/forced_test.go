package replica

import (
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// behind is slot A with a journal of one epoch to 300, of which it knows 200 to be
// committed.
func behind(t *testing.T, rec cluster.StoreRecord, epoch cluster.Epoch) *rig {
	return newRig(t, rec, Opened{
		End: cluster.Position{LSN: 300, Epoch: epoch, Chain: chain1}, Commit: 200, Applied: 200, Adopted: epoch,
		Starts: []EpochStart{{Epoch: epoch}}, Counter: 5,
	})
}

func (r *rig) proposal() ProposeRecord {
	r.t.Helper()
	p := take[ProposeRecord](r)
	if len(p) != 1 {
		r.t.Fatalf("%d proposals, want one", len(p))
	}
	return p[0]
}

func TestForcedMasterKeepsATailOfTheLastEpoch(t *testing.T) {
	r := behind(t, record(slotB, 2, slotB), 3)
	r.step(Nominate{Forced: true, OldIsOff: true})
	r.accept(r.proposal())
	if cuts := take[Truncate](r); len(cuts) != 0 || r.c.Commit() != 400 {
		t.Errorf("cut %v, committed to %d; want all of it", cuts, r.c.Commit())
	}
}

func TestForcedNominationOfAnotherRecordIsGivenUp(t *testing.T) {
	r := behind(t, record(slotB, 2, slotB), 3)
	r.step(Nominate{Forced: true, OldIsOff: true, Rev: r.rev - 1})
	if p := take[ProposeRecord](r); len(p) != 0 {
		t.Fatalf("proposed %+v", p)
	}
	if got := r.c.State().Role; got != RoleReplica {
		t.Errorf("role %v, want to follow", got)
	}
	r.step(Nominate{Forced: true, OldIsOff: true, Rev: r.rev})
	if p := r.proposal(); len(p.Record.Forks) != 1 || p.Record.Forks[0].Epoch != 4 {
		t.Errorf("proposed forks %v, want the first, of epoch 4", p.Record.Forks)
	}
}

func TestForcedFailoversAreCounted(t *testing.T) {
	rec := record(slotB, 2, slotB)
	rec.Forks = []cluster.Fork{{Epoch: 2, LSN: 50}}
	r := behind(t, rec, 1) // it did not follow the first
	r.step(Nominate{Forced: true, OldIsOff: true})
	r.accept(r.proposal())
	r.step(Truncated{End: cluster.Position{LSN: 200, Epoch: 1, Chain: chain2}})
	if start := take[AppendRecord](r); len(start) != 1 || len(start[0].Record.Forks) != 2 {
		t.Fatalf("appended %+v, want the second fork", start)
	}
	for r.c.CanAppend(r.now) != nil && r.now < 2*time.Hour {
		r.now += TickEvery
		r.step(Tick{})
	}
	if p := r.proposal(); p.Record.Forced != 0 || p.Record.Forks[1] != (cluster.Fork{Epoch: 4, LSN: 200}) {
		t.Errorf("serving, it proposed %+v", p.Record)
	}
}

func TestForcedMasterSetsAnOlderTailAside(t *testing.T) {
	r := behind(t, record(slotB, 2, slotB), 2)
	r.step(Nominate{Forced: true, OldIsOff: true})
	p := r.proposal()
	if p.Record.Forced != 4 || len(p.Record.InSync) != 1 {
		t.Fatalf("proposed %+v", p.Record)
	}
	r.accept(p)
	cuts := take[Truncate](r)
	if len(cuts) != 1 || cuts[0].To != 200 || r.c.Epoch() != 0 {
		t.Fatalf("cut %v as master of epoch %d; want 200, and to be master after it", cuts, r.c.Epoch())
	}
	r.step(Truncated{End: cluster.Position{LSN: 200, Epoch: 2, Chain: chain2}})
	start := take[AppendRecord](r)
	if len(start) != 1 || !start[0].Start || start[0].Record.Forced != 4 {
		t.Errorf("appended %+v, want a forced epoch's start", start)
	}
}

func TestForcedEpochLastsUntilItServes(t *testing.T) {
	for name, appended := range map[string]bool{"its start is lost": false, "its start is there": true} {
		t.Run(name, func(t *testing.T) {
			rec := record(slotA, 7, slotA) // the record of an earlier incarnation of A
			rec.Forced, rec.Forks = 3, []cluster.Fork{{Epoch: 3}}
			last := cluster.Epoch(1)
			if appended {
				last = 3
			}
			r := behind(t, rec, last)
			began := r.now
			r.step(Nominate{})
			p := r.proposal()
			if p.Record.Epoch != 4 || p.Record.Forced != 3 {
				t.Fatalf("proposed epoch %d, forced %d", p.Record.Epoch, p.Record.Forced)
			}
			r.accept(p)
			cuts := take[Truncate](r)
			if (len(cuts) == 0) != appended {
				t.Fatalf("cut %v", cuts)
			}
			if !appended {
				r.step(Truncated{End: cluster.Position{LSN: 200, Epoch: 1, Chain: chain2}})
			}
			for r.c.CanAppend(r.now) != nil && r.now < began+time.Minute {
				r.now += TickEvery
				r.step(Tick{})
			}
			if waited := r.now - began; waited < 10*time.Second || waited > 12*time.Second {
				t.Errorf("served after %v: the old master's 10 s are not over before that", waited)
			}
			if p := r.proposal(); p.Record.Forced != 0 {
				t.Errorf("serving, it proposed %+v", p.Record)
			}
		})
	}
}
