package app

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/plan"
)

// coordTime is how long a status waits for the coordinator. An election takes less.
const coordTime = 2 * time.Second

// lookSoon is look, for somebody who waits for the answer.
func (b *backend) lookSoon(ctx context.Context) (picture, error) {
	within, cancel := context.WithTimeout(ctx, coordTime)
	defer cancel()
	p, err := b.records(within)
	if err == nil {
		b.askAll(ctx, &p)
	}
	return p, err
}

// lookBlind is what can be seen without the coordinator: the machines that were seen
// last, and of each store the highest record that one of its slots knows.
func (b *backend) lookBlind(ctx context.Context) picture {
	p := newPicture()
	p.blind = true
	if p.machines = b.routes.Machines(); !b.routes.Listed() {
		seen := b.remembered().Machines
		for _, name := range slices.Sorted(maps.Keys(seen)) {
			p.machines = append(p.machines, coord.MachineRecord{Machine: name, Link: seen[name], Storage: true})
		}
	}
	b.askAll(ctx, &p)
	v := newEvidence()
	v.hear(p.agents)
	for _, c := range v.highest {
		p.stores = append(p.stores, c.Record)
	}
	slices.SortFunc(p.stores, func(a, b cluster.StoreRecord) int { return cmp.Compare(a.Store, b.Store) })
	return p
}

// blindProblems are what a controller would say of that picture. No controller is
// elected without the coordinator.
func (b *backend) blindProblems(p *picture, now time.Time) []plan.Problem {
	snap := plan.Snapshot{Stale: now.Add(-coordTime)}
	if since := b.routes.Unfed(); !since.IsZero() {
		snap.Stale = since
	}
	for _, rec := range p.machines {
		m := plan.Machine{MachineRecord: rec, Leased: true, Probe: plan.Probe{Known: true}}
		st, answers := p.agents[rec.Machine]
		if answers {
			m.Slots, m.StatusAt = planSlots(st), now
		} else if !p.answers[rec.Machine] {
			m.Probe.Failures, m.Probe.Since = 1, now.Add(-askTime)
		}
		snap.Machines = append(snap.Machines, m)
	}
	for _, rec := range p.stores {
		snap.Stores = append(snap.Stores, plan.Store{StoreRecord: rec})
	}
	return plan.Make(snap, plan.Policy{}, now).Problems
}
