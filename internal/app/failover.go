package app

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/slot"
)

const (
	// fenceTime bounds one call of the fence command.
	fenceTime = 30 * time.Second
	// appointTime is how long a nominee may take to be in the record, serveTime to
	// serve: the wait for the old master, the rest of its journal, and some.
	appointTime = 10 * time.Second
	serveTime   = time.Minute
	// aloneWait and leaseWait are what the nominee waits for the old master.
	aloneWait = 11 * time.Second
	leaseWait = 1100 * time.Millisecond
)

// Failover implements api.Backend. The nominee writes the record itself, by
// compare-and-swap on the revision that the plan was made on.
func (b *backend) Failover(ctx context.Context, s cluster.Store, req api.FailoverRequest) (api.FailoverReport, error) {
	if req.By == "" || req.Reason == "" || !req.PlanOnly && req.Rev == 0 {
		return api.FailoverReport{}, &api.Error{Status: http.StatusBadRequest, Message: "say who forces the store, why, and which revision of the plan is confirmed"}
	}
	rec, rev, err := b.record(ctx, s)
	if err != nil {
		return api.FailoverReport{}, err
	}
	p, err := b.planFailover(ctx, rec, rev, req)
	if err != nil || req.PlanOnly {
		return p.FailoverReport, err
	}
	if rev != req.Rev {
		return p.FailoverReport, conflict("look at the plan again", "the record of store %s has changed since the plan: revision %d, it was %d", s, rev, req.Rev)
	}
	begun := time.Now()
	log := b.log.With("store", s)
	log.Warn("forced failover begins", "machine", p.To, "epoch", rec.Epoch, "lsn", p.LSN, "by", req.By, "reason", req.Reason, "risk", p.risk())
	err = b.force(ctx, rec, &p)
	b.note(ctx, coord.HistoryEntry{
		At: begun, By: req.By, Kind: "forced-failover", Store: s, Machine: p.To, From: rec.Master, To: p.slot, Epoch: rec.Epoch,
		Reason: req.Reason + "; at risk: " + p.risk(), Took: time.Since(begun), Error: text(err),
	})
	if err != nil {
		log.Error("forced failover has failed, or has not served yet", "machine", p.To, "err", err)
		return p.FailoverReport, conflict("tandemail store show "+string(s), "store %s: %v", s, err)
	}
	log.Warn("forced failover is done", "machine", p.To, "epoch", p.Epoch)
	return p.FailoverReport, nil
}

// failoverPlan is a report and what it is carried out with.
type failoverPlan struct {
	api.FailoverReport
	slot cluster.SlotID
	off  []cluster.Machine // that must not go on
}

// risk is what may be missing, in a sentence for the history.
func (p *failoverPlan) risk() string {
	var known []string
	for _, l := range p.Lost {
		if l.LSN > p.LSN {
			known = append(known, fmt.Sprintf("%d octets of journal known on %s", l.LSN-p.LSN, l.Machine))
		}
	}
	what := cmp.Or(strings.Join(known, ", "), "an amount that nobody knows")
	return fmt.Sprintf("what came after %d (epoch %d), %s, of %d users", p.LSN, p.Ended, what, len(p.Users))
}

// planFailover says what forcing means, or why it is not to be.
func (b *backend) planFailover(ctx context.Context, rec cluster.StoreRecord, rev cluster.Rev, req api.FailoverRequest) (failoverPlan, error) {
	p := failoverPlan{FailoverReport: api.FailoverReport{
		Store: rec.Store, Rev: rev, Epoch: rec.Epoch, From: rec.MachineOf(rec.Master), Lost: []api.LostCopy{}, Users: []string{},
		Forks: len(rec.Forks), Fence: b.cfg.Control.Fence != "", OldIsOff: req.OldIsOff, WaitSec: aloneWait.Seconds(),
	}}
	switch {
	case rec.Epoch == 0:
		return p, conflict("wait a moment", "store %s has no master yet", rec.Store)
	case len(rec.Forks) >= cluster.MaxForks:
		return p, conflict("move its users to another store", "store %s was forced %d times, and no store may be more often", rec.Store, len(rec.Forks))
	}
	if req.OldIsOff {
		p.WaitSec = leaseWait.Seconds()
	}
	pic, err := b.look(ctx)
	if err != nil {
		return p, unavailable(err)
	}
	if err := p.lost(rec, &pic, b.lastSeen(ctx)); err != nil {
		return p, err
	}
	if err := p.choose(rec, &pic, req.To); err != nil {
		return p, err
	}
	if len(rec.InSync) > 1 && !req.OldIsOff && !p.Fence {
		return p, conflict("switch them off, then say --old-is-off", "store %s had copies in sync on %s, which go on if they reach each other; waiting does not end them", rec.Store, machineNames(rec, rec.InSync))
	}
	for u := range b.users.List() {
		if u.Store == rec.Store {
			p.Users = append(p.Users, u.Name)
		}
	}
	slices.Sort(p.Users)
	return p, nil
}

func machineNames(rec cluster.StoreRecord, ids []cluster.SlotID) string {
	var names []string
	for _, id := range ids {
		names = append(names, string(rec.MachineOf(id)))
	}
	return strings.Join(names, " and ")
}

// lastSeen is what the elected controller saw of each slot last.
func (b *backend) lastSeen(ctx context.Context) map[cluster.SlotID]sighting {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	seen := map[cluster.SlotID]sighting{}
	r, err := b.report(ctx)
	if err != nil {
		return seen // then nobody knows
	}
	for _, m := range r.Seen {
		for _, st := range m.Slots {
			seen[st.Slot] = sighting{m.At, st.Durable}
		}
	}
	return seen
}

type sighting struct {
	at  time.Time
	lsn cluster.LSN
}

// lost lists the members of the in-sync set, and refuses if one could serve.
func (p *failoverPlan) lost(rec cluster.StoreRecord, pic *picture, seen map[cluster.SlotID]sighting) error {
	for _, id := range rec.InSync {
		ref, _ := rec.Ref(id)
		l := api.LostCopy{Machine: ref.Machine, Why: "no answer"}
		if st, up := pic.agents[ref.Machine]; up {
			x, there := statusOf(st, id)
			switch {
			case !there:
				l.Why = "its data is not there: " + pic.slot(ref).Reason
			case x.Fault != nil:
				return conflict("tandemail status says how to go on", "the copy of store %s on %s is whole but for an operation that it cannot apply; a forced failover would only lose mail", rec.Store, ref.Machine)
			case x.State == slot.StateFrozen:
				return conflict("tandemail control recover", "the copy of store %s on %s is in sync, and frozen: %s", rec.Store, ref.Machine, x.Reason)
			case x.State == slot.StateFailed:
				l.Why = "failed: " + x.Reason
			case x.Serving && id == rec.Master:
				return conflict("tandemail store switchover "+string(rec.Store), "store %s is served by %s", rec.Store, ref.Machine)
			default:
				return conflict("wait, it is appointed by itself; tandemail status says what hinders it", "the copy of store %s on %s is in sync, and answers", rec.Store, ref.Machine)
			}
		}
		if at, known := seen[id]; known {
			l.LSN, l.SeenSec = at.lsn, time.Since(at.at).Seconds()
		}
		p.Lost = append(p.Lost, l)
		p.off = append(p.off, ref.Machine)
	}
	return nil
}

func statusOf(st agent.Status, id cluster.SlotID) (agent.SlotStatus, bool) {
	for _, x := range st.Slots {
		if x.Slot == id {
			return x, true
		}
	}
	return agent.SlotStatus{}, false
}

// choose finds the copy that has most, or looks at the one asked for.
func (p *failoverPlan) choose(rec cluster.StoreRecord, pic *picture, to cluster.Machine) error {
	var why []string
	for _, ref := range rec.Slots {
		if rec.IsInSync(ref.Slot) || to != "" && ref.Machine != to {
			continue
		}
		st, up := pic.agents[ref.Machine]
		x, there := statusOf(st, ref.Slot)
		switch {
		case !up:
			why = append(why, fmt.Sprintf("%s does not answer", ref.Machine))
		case !there:
			why = append(why, fmt.Sprintf("the copy on %s has no data", ref.Machine))
		case x.Role != replica.RoleReplica.String() || x.State == slot.StateFrozen || x.State == slot.StateFailed:
			why = append(why, fmt.Sprintf("the copy on %s is %s (%s) %s", ref.Machine, x.Role, x.State, x.Reason))
		case x.EndEpoch == 0:
			why = append(why, fmt.Sprintf("the copy on %s is empty", ref.Machine))
		case p.To == "" || cmp.Or(cmp.Compare(x.EndEpoch, p.Ended), cmp.Compare(x.Durable, p.LSN)) > 0:
			p.To, p.slot, p.LSN, p.Ended = ref.Machine, ref.Slot, x.Durable, x.EndEpoch
		}
	}
	switch {
	case p.To != "":
		return nil
	case to != "" && len(why) == 0:
		return conflict("tandemail store show "+string(rec.Store), "store %s has no copy on %s that is not in sync", rec.Store, to)
	}
	return conflict("bring a machine back", "store %s has no copy that could be forced: %s", rec.Store, cmp.Or(strings.Join(why, "; "), "all are in the in-sync set"))
}

// force carries a plan out.
func (b *backend) force(ctx context.Context, rec cluster.StoreRecord, p *failoverPlan) error {
	if p.Fence && !p.OldIsOff {
		if err := b.fence(ctx, p); err != nil {
			return err
		}
	}
	if err := b.remote.Force(ctx, p.To, rec.Store, p.slot, rec.Epoch, p.Rev, p.OldIsOff); err != nil {
		return fmt.Errorf("ask the copy on %s: %w", p.To, err)
	}
	epoch, err := b.awaitAppointed(ctx, rec, p)
	if err != nil {
		return err
	}
	b.log.Warn("forced failover: the copy is appointed, and waits for the end of the old master", "store", rec.Store, "machine", p.To, "epoch", epoch)
	ctx, cancel := context.WithTimeout(ctx, serveTime)
	defer cancel()
	for {
		err := b.remote.AwaitServing(ctx, p.To, rec.Store, epoch)
		if err == nil {
			p.Done, p.Epoch = true, epoch
			return nil
		}
		select {
		case <-time.After(appointLook):
		case <-ctx.Done():
			return fmt.Errorf("appointed, epoch %d, and does not serve: %w", epoch, err)
		}
	}
}

// fence switches the lost machines off. If that fails, the wait has to do, which
// ends a lone master only.
func (b *backend) fence(ctx context.Context, p *failoverPlan) error {
	for _, m := range p.off {
		ctx, cancel := context.WithTimeout(ctx, fenceTime)
		out, err := exec.CommandContext(ctx, b.cfg.Control.Fence, string(m)).CombinedOutput()
		cancel()
		if err != nil {
			b.log.Error("fence command failed", "machine", m, "err", err, "output", string(out[:min(len(out), 1000)]))
			if len(p.off) > 1 {
				return fmt.Errorf("the fence command failed for %s (%w), and more than one copy was in sync: switch them off, then say --old-is-off", m, err)
			}
			return nil
		}
		b.log.Warn("fence command has switched a machine off", "machine", m)
	}
	p.OldIsOff, p.WaitSec = true, leaseWait.Seconds()
	return nil
}

// appointLook is how often the record is looked at meanwhile.
const appointLook = 100 * time.Millisecond

// awaitAppointed returns the epoch that appoints the copy.
func (b *backend) awaitAppointed(ctx context.Context, rec cluster.StoreRecord, p *failoverPlan) (cluster.Epoch, error) {
	for begun := time.Now(); ; {
		now, _, err := b.record(ctx, rec.Store)
		switch {
		case err == nil && now.Epoch > rec.Epoch && now.Master == p.slot:
			return now.Epoch, nil
		case err == nil && now.Epoch > rec.Epoch:
			return 0, fmt.Errorf("%s became master, not %s", now.MachineOf(now.Master), p.To)
		case time.Since(begun) > appointTime:
			return 0, fmt.Errorf("the copy on %s was not appointed; its log says why (%v)", p.To, err)
		}
		select {
		case <-time.After(appointLook):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
