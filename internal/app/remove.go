package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/plan"
)

const (
	// outTime bounds the wait for the removed machine's copies to leave the in-sync
	// sets: a second once its connections have ended, more under load.
	outTime  = 15 * time.Second
	outPause = 200 * time.Millisecond
)

// RemoveMachine implements api.Backend: the key first, so that nobody talks to the
// machine any more, then its member of the coordinator, then its copies, which are
// made anew elsewhere.
func (b *backend) RemoveMachine(ctx context.Context, m cluster.Machine, req api.RemoveRequest) (api.RemoveReport, error) {
	r := api.RemoveReport{Machine: m, Moved: []api.StorePlacement{}, Left: []string{}}
	p, err := b.look(ctx)
	if err != nil {
		return r, unavailable(err)
	}
	if m == b.name {
		return r, conflict("ask another machine: --api", "machine %s cannot remove itself", m)
	}
	needed := p.needs(m)
	if len(needed) > 0 && !req.Force {
		return r, conflict(
			"tandemail machine drain "+string(m)+", wait until every store has two copies in sync, then again; --force removes it all the same: what only it has is lost to the cluster until it is joined again",
			"machine %s is needed: %s", m, strings.Join(needed, "; "))
	}
	r.Left = append(r.Left, needed...)
	if err := b.strike(ctx, m); err != nil {
		return r, err
	}
	if b.ownMembers() {
		if err := b.etcd.Remove(ctx, string(m)); err != nil {
			r.Left = append(r.Left, fmt.Sprintf("its member of the coordinator is still listed (%v): ask again", err))
		}
	}
	b.note(ctx, coord.HistoryEntry{At: time.Now(), By: "operator", Kind: "remove-machine", Machine: m, Reason: "asked for by hand"})
	moving, cancel := context.WithTimeout(ctx, outTime)
	defer cancel()
	for _, rec := range slices.Clone(p.stores) {
		b.moveCopy(moving, &p, rec.Store, m, &r)
	}
	return r, nil
}

// needs says which stores cannot go on as they do without machine m.
func (p *picture) needs(m cluster.Machine) []string {
	var out []string
	for _, rec := range p.stores {
		for _, ref := range rec.Slots {
			switch {
			case ref.Machine != m:
			case rec.Epoch == 0:
				out = append(out, fmt.Sprintf("store %s has no master yet", rec.Store))
			case rec.IsInSync(ref.Slot) && len(rec.InSync) == 1:
				out = append(out, fmt.Sprintf("store %s has its only copy in sync there", rec.Store))
			case rec.Master == ref.Slot:
				out = append(out, fmt.Sprintf("store %s has its master there", rec.Store))
			}
		}
	}
	return out
}

// strike takes the machine and its key out of the membership, for ever. Asked again
// for one that is gone it says that there is none.
func (b *backend) strike(ctx context.Context, m cluster.Machine) error {
	key := coord.MachineKey(m)
	for range maxAttempts {
		v, rev, err := b.coord.Get(ctx, key)
		if err != nil {
			return unavailable(err)
		}
		if rev == 0 {
			return notFound("there is no machine %s", m)
		}
		rec, err := coord.Decode[coord.MachineRecord](coord.KV{Key: key, Value: v})
		if err != nil {
			return err
		}
		t := coord.Txn{If: []coord.Compare{{Key: key, Rev: rev}}, Then: []coord.Op{coord.Delete(key)}}
		if rec.Key != "" {
			struck := coord.StruckRecord{Machine: m, At: time.Now(), By: "operator"}
			t.Then = append(t.Then, coord.Put(coord.StruckKey(rec.Key), coord.Encode(struck)))
		}
		ok, _, err := b.coord.Txn(ctx, t)
		if err != nil {
			return unavailable(err)
		}
		if ok {
			return nil
		}
	}
	return conflict("try again", "the record of machine %s changes all the time", m)
}

// moveCopy gives store s a new copy on another machine in place of the one on m,
// once that one is in the in-sync set no more.
func (b *backend) moveCopy(ctx context.Context, p *picture, s cluster.Store, m cluster.Machine, r *api.RemoveReport) {
	for !b.tryMove(ctx, p, s, m, r) {
		select {
		case <-time.After(outPause):
		case <-ctx.Done():
			r.Left = append(r.Left, fmt.Sprintf("store %s still counts on its copy there", s))
			return
		}
	}
}

// tryMove reports whether the store has no slot on m now, and puts into r what it
// did about it.
func (b *backend) tryMove(ctx context.Context, p *picture, s cluster.Store, m cluster.Machine, r *api.RemoveReport) bool {
	rec, rev, err := b.record(ctx, s)
	if err != nil {
		return false
	}
	i := slotOn(rec, m)
	if i < 0 {
		return true
	}
	if rec.IsInSync(rec.Slots[i].Slot) {
		return false
	}
	to, why := p.elsewhere(rec, m)
	next, err := b.replaceCopy(ctx, rec, rev, i, to)
	if err != nil {
		return false
	}
	// The next copy is placed beside this one.
	for j := range p.stores {
		if p.stores[j].Store == s {
			p.stores[j] = next
		}
	}
	if to == "" {
		r.Left = append(r.Left, fmt.Sprintf("store %s has a copy less: %s", s, why))
	} else {
		r.Moved = append(r.Moved, api.StorePlacement{Store: s, Machines: []cluster.Machine{to}})
	}
	return true
}

func slotOn(rec cluster.StoreRecord, m cluster.Machine) int {
	for i, ref := range rec.Slots {
		if ref.Machine == m {
			return i
		}
	}
	return -1
}

// elsewhere chooses a machine for a copy; "" and why if there is none.
func (p *picture) elsewhere(rec cluster.StoreRecord, gone cluster.Machine) (cluster.Machine, string) {
	zones := map[cluster.Zone]bool{}
	var hosts []plan.Host
	for _, m := range p.machines {
		if m.Machine != gone && slotOn(rec, m.Machine) >= 0 && m.Zone != "" {
			zones[m.Zone] = true
		}
	}
	for _, m := range p.machines {
		if _, up := p.agents[m.Machine]; up && m.Storage && m.Machine != gone && slotOn(rec, m.Machine) < 0 && !zones[m.Zone] {
			hosts = append(hosts, plan.Host{Machine: m.Machine, Zone: m.Zone, Weight: m.Weight})
		}
	}
	placed, err := plan.Place(hosts, placements(p.stores), []cluster.Store{rec.Store}, 1)
	if err != nil {
		return "", "there is no other machine for it"
	}
	return placed[0].Machines[0], ""
}

// replaceCopy puts a new and empty slot on machine to in the place of slot i, or
// takes the slot out if to is "". It returns the record as it is then.
func (b *backend) replaceCopy(ctx context.Context, rec cluster.StoreRecord, rev cluster.Rev, i int, to cluster.Machine) (cluster.StoreRecord, error) {
	next := rec.Clone()
	if to == "" {
		next.Slots = append(next.Slots[:i], next.Slots[i+1:]...)
	} else {
		next.Slots[i] = cluster.SlotRef{Slot: newSlotID(), Machine: to}
	}
	if next.Want == rec.Slots[i].Slot {
		next.Want = cluster.SlotID{}
	}
	next.Nonce = randomNonce()
	if err := rec.LegalStep(next); err != nil {
		return next, err
	}
	key := coord.StoreKey(rec.Store)
	ok, _, err := b.coord.Txn(ctx, coord.Txn{If: []coord.Compare{{Key: key, Rev: rev}}, Then: []coord.Op{coord.Put(key, next.Encode())}})
	if err == nil && !ok {
		err = errors.New("the record changed meanwhile")
	}
	return next, err
}
