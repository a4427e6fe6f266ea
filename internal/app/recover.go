package app

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/slot"
)

// Recover implements api.Backend: a coordinator that was wiped or went back gets,
// for each store, the highest claim of all slots that answer, as a new generation,
// at a revision above every one that any of them has seen. Asked again after a
// failure it begins anew.
func (b *backend) Recover(ctx context.Context, req api.RecoverRequest) (api.RecoverReport, error) {
	if req.By == "" || req.Reason == "" {
		return api.RecoverReport{}, &api.Error{Status: http.StatusBadRequest, Message: "say who recovers the coordinator, and why"}
	}
	begun := time.Now()
	v, err := b.claims(ctx)
	if err != nil {
		return api.RecoverReport{}, unavailable(err)
	}
	r, known := v.report(), b.users.Stats()
	r.Users, r.Aliases = known.Users, known.Aliases
	var saved *export
	if req.From != "" {
		if saved, err = readExport(req.From); err != nil {
			return r, &api.Error{Status: http.StatusBadRequest, Message: err.Error()}
		}
		if saved.Cluster != b.cfg.Cluster {
			return r, conflict("", "%s is of cluster %s", req.From, saved.Cluster)
		}
		r.From, r.FromRevision = saved.At, saved.Rev
	}
	lost := v.contradicts() || saved != nil
	if !lost && !req.Complete {
		return r, conflict("tandemail status", "the coordinator contradicts no slot that answers; there is nothing to recover")
	}
	if req.PlanOnly {
		return r, nil
	}
	if err := b.doubt(ctx, true); err != nil {
		return r, err
	}
	if lost {
		if err := b.raiseRevision(ctx, v.seen); err != nil {
			return r, err
		}
	}
	if saved != nil {
		if r.Restored, r.Kept, err = b.restore(ctx, saved); err != nil {
			return r, err
		}
	}
	if v.contradicts() {
		if err := b.writeClaims(ctx, v, r.Generation); err != nil {
			return r, err
		}
	}
	if req.Complete {
		if err := b.doubt(ctx, false); err != nil {
			return r, err
		}
	}
	r.Done = true
	b.note(ctx, coord.HistoryEntry{
		At: begun, By: req.By, Kind: "recover", Took: time.Since(begun),
		Reason: fmt.Sprintf("generation %d, %d stores, %d entries restored, said to be complete: %t: %s", r.Generation, len(r.Stores), r.Restored, req.Complete, req.Reason),
	})
	return r, nil
}

// evidence is what all slots that answer, and the coordinator, say.
type evidence struct {
	highest  map[cluster.Store]slot.Claim
	machine  map[cluster.Store]cluster.Machine // whose claim that is; "": the coordinator's own
	recorded map[cluster.Store]coord.KV        // what the coordinator has now
	rev      cluster.Rev                       // the coordinator's
	seen     cluster.Rev                       // the highest that any slot has seen
	frozen   bool                              // a slot says that the coordinator contradicts it
	silent   []cluster.Machine
}

func newEvidence() evidence {
	return evidence{highest: map[cluster.Store]slot.Claim{}, machine: map[cluster.Store]cluster.Machine{}, recorded: map[cluster.Store]coord.KV{}}
}

func (b *backend) claims(ctx context.Context) (evidence, error) {
	v := newEvidence()
	p, err := b.look(ctx)
	if err != nil {
		return v, err
	}
	kvs, rev, err := b.coord.List(ctx, coord.StoresPrefix)
	if err != nil {
		return v, err
	}
	v.rev = rev
	for _, kv := range kvs {
		v.recorded[cluster.Store(coord.NameOf(kv.Key))] = kv
		if rec, err := cluster.DecodeStoreRecord(kv.Value); err == nil {
			v.take("", slot.Claim{Store: rec.Store, Record: rec, Rev: kv.Rev})
		}
	}
	v.hear(p.agents)
	missing := map[cluster.Machine]bool{}
	for _, rec := range p.machines {
		missing[rec.Machine] = rec.Storage
	}
	for _, c := range v.highest {
		for _, ref := range c.Record.Slots {
			missing[ref.Machine] = true
		}
	}
	for m, counts := range missing {
		if _, answers := p.agents[m]; counts && !answers {
			v.silent = append(v.silent, m)
		}
	}
	slices.Sort(v.silent)
	return v, nil
}

// hear takes in what the slots of all agents say.
func (v *evidence) hear(agents map[cluster.Machine]agent.Status) {
	for _, m := range slices.Sorted(maps.Keys(agents)) { // of equal claims the first counts
		st := agents[m]
		for _, s := range st.Slots {
			v.take(m, slot.Claim{Store: s.Store, Slot: s.Slot, Record: s.Record, Rev: s.Rev, CoordRev: s.CoordRev})
			v.frozen = v.frozen || s.State == slot.StateFrozen
		}
		for _, c := range st.Claims {
			v.take(m, c)
		}
	}
}

// take takes one claim in. Slots that never saw a record claim nothing.
func (v *evidence) take(m cluster.Machine, c slot.Claim) {
	if m != "" {
		v.seen = max(v.seen, c.Rev, c.CoordRev)
	}
	if c.Record.Validate() != nil || c.Record.Store != c.Store {
		return
	}
	if best, known := v.highest[c.Store]; !known || c.Higher(&best) {
		v.highest[c.Store], v.machine[c.Store] = c, m
	}
}

// contradicts reports whether the coordinator knows less than the slots.
func (v *evidence) contradicts() bool {
	if v.frozen {
		return true
	}
	for _, m := range v.machine {
		if m != "" {
			return true
		}
	}
	return false
}

func (v *evidence) report() api.RecoverReport {
	r := api.RecoverReport{Revision: v.rev, Seen: v.seen, Stores: []api.RecoveredStore{}, Silent: append([]cluster.Machine{}, v.silent...)}
	for s, c := range v.highest {
		rec := c.Record
		r.Generation = max(r.Generation, rec.Generation+1)
		x := api.RecoveredStore{Store: s, Claimant: v.machine[s], Epoch: rec.Epoch, Master: rec.MachineOf(rec.Master), InSync: []cluster.Machine{}, Silent: []cluster.Machine{}}
		for _, id := range rec.InSync {
			x.InSync = append(x.InSync, rec.MachineOf(id))
		}
		for _, ref := range rec.Slots {
			if slices.Contains(v.silent, ref.Machine) {
				x.Silent = append(x.Silent, ref.Machine)
			}
		}
		r.Stores = append(r.Stores, x)
	}
	slices.SortFunc(r.Stores, func(a, b api.RecoveredStore) int { return cmp.Compare(a.Store, b.Store) })
	return r
}

// writeClaims writes every store's record as the new generation, in an epoch that
// nobody has acted in: a coordinator that went back may have given one twice, and the
// other master of that epoch would go on.
func (b *backend) writeClaims(ctx context.Context, v evidence, generation uint64) error {
	for s, c := range v.highest {
		next := c.Record.Clone()
		next.Generation, next.Nonce = generation, randomNonce()
		if next.Epoch > 0 {
			next.Epoch++
		}
		key := coord.StoreKey(s)
		ok, _, err := b.coord.Txn(ctx, coord.Txn{
			If:   []coord.Compare{{Key: key, Rev: v.recorded[s].Rev}},
			Then: []coord.Op{coord.Put(key, next.Encode())},
		})
		switch {
		case err != nil:
			return unavailable(err)
		case !ok:
			return conflict("ask again", "the record of store %s changed meanwhile", s)
		}
	}
	return nil
}

// maxRaise bounds how many revisions are made, each a change of one small key.
const (
	maxRaise    = 1_000_000
	raiseAtOnce = 64
)

// raiseRevision brings the coordinator to a revision above seen: a revision used
// twice would let a change that compares with the old one replace a recovered record.
func (b *backend) raiseRevision(ctx context.Context, seen cluster.Rev) error {
	var now atomic.Int64
	step := func(ctx context.Context) error {
		_, rev, err := b.coord.Txn(ctx, coord.Txn{Then: []coord.Op{coord.Put(coord.RecoverKey, []byte(`"revision"`))}})
		for known := now.Load(); err == nil && int64(rev) > known && !now.CompareAndSwap(known, int64(rev)); known = now.Load() {
		}
		return err
	}
	if err := step(ctx); err != nil {
		return unavailable(err)
	}
	if gap := int64(seen) - now.Load(); gap > maxRaise {
		return conflict("restore the coordinator with `etcdutl snapshot restore --bump-revision`, then recover", "its revision is %d, slots have seen %d: too far to raise it by changes", now.Load(), seen)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range raiseAtOnce {
		wg.Go(func() {
			for now.Load() <= int64(seen) && ctx.Err() == nil {
				if err := step(ctx); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return unavailable(err)
	}
	return nil
}
