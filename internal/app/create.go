package app

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/plan"
)

const (
	defaultCopies = 2
	// storesEach is the most stores a machine gets when nobody says how many.
	storesEach = 4
)

// CreateStores implements api.Backend. Asked again for the same names it creates
// what is missing.
func (b *backend) CreateStores(ctx context.Context, req api.StoresRequest) (api.StoresReport, error) {
	req.Copies = cmp.Or(req.Copies, defaultCopies)
	if len(req.Names) > 10_000 || req.Count < 0 || req.Count > 10_000 || req.Copies < 1 || req.Copies > 5 {
		return api.StoresReport{}, &api.Error{Status: http.StatusBadRequest, Message: "between 1 and 10000 stores of 1 to 5 copies can be made"}
	}
	p, err := b.look(ctx)
	if err != nil {
		return api.StoresReport{}, unavailable(err)
	}
	if err := p.unknownStore(); err != nil {
		return api.StoresReport{}, err
	}
	hosts, err := p.hosts(req.Machines)
	if err != nil {
		return api.StoresReport{}, err
	}
	names, err := newStores(p.stores, req, len(hosts))
	if err != nil {
		return api.StoresReport{}, err
	}
	placed, err := plan.Place(hosts, placements(p.stores), names, req.Copies)
	if err != nil {
		return api.StoresReport{}, conflict("join more machines, or give them zones that differ; --copies 1 keeps mail on one machine only", "%v", err)
	}
	r := api.StoresReport{Stores: []api.StorePlacement{}, DryRun: req.DryRun}
	for _, pl := range placed {
		if !req.DryRun {
			if err := b.createStore(ctx, pl); err != nil {
				return r, err
			}
		}
		r.Stores = append(r.Stores, api.StorePlacement{Store: pl.Store, Machines: pl.Machines})
	}
	return r, nil
}

// unknownStore is the refusal to make stores anew of which machines have copies.
func (p *picture) unknownStore() error {
	for _, m := range p.machines {
		for _, c := range p.agents[m.Machine].Claims {
			if c.Record.Epoch > 0 && !slices.ContainsFunc(p.stores, func(rec cluster.StoreRecord) bool { return rec.Store == c.Store }) {
				return conflict("tandemail control recover", "%s has a copy of store %s, which the coordinator does not know: it was wiped or went back", m.Machine, c.Store)
			}
		}
	}
	return nil
}

// hosts are the machines that keep mail. All must be up, and so many.
func (p *picture) hosts(want int) ([]plan.Host, error) {
	var hosts []plan.Host
	storage := 0
	for _, m := range p.machines {
		if !m.Storage {
			continue
		}
		storage++
		if _, up := p.agents[m.Machine]; up {
			hosts = append(hosts, plan.Host{Machine: m.Machine, Zone: m.Zone, Weight: m.Weight})
		}
	}
	if want = max(want, storage); len(hosts) < want || want == 0 {
		return nil, conflict("start the others first, or remove them", "%d of %d machines are up", len(hosts), want)
	}
	return hosts, nil
}

// placements say where the stores are.
func placements(stores []cluster.StoreRecord) []plan.Placement {
	var out []plan.Placement
	for _, rec := range stores {
		pl := plan.Placement{Store: rec.Store}
		for _, ref := range rec.Slots {
			pl.Machines = append(pl.Machines, ref.Machine)
		}
		out = append(out, pl)
	}
	return out
}

// newStores names the stores to be made.
func newStores(stores []cluster.StoreRecord, req api.StoresRequest, hosts int) ([]cluster.Store, error) {
	have := map[cluster.Store]bool{}
	for _, rec := range stores {
		have[rec.Store] = true
	}
	var names []cluster.Store
	for _, s := range req.Names {
		if !coord.ValidName(string(s)) || slices.Contains(names, s) {
			return nil, &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("%q is no name of a store, or given twice", s), Hint: "lower-case letters, digits and hyphens, at most 63"}
		}
		if !have[s] {
			names = append(names, s)
		}
	}
	if len(req.Names) > 0 {
		return names, nil
	}
	count := cmp.Or(req.Count, max(1, hosts*min(hosts-1, storesEach)))
	for i := 1; len(names) < count; i++ {
		if s := cluster.Store(fmt.Sprintf("s%02d", i)); !have[s] {
			names = append(names, s)
		}
	}
	return names, nil
}

func (b *backend) createStore(ctx context.Context, pl plan.Placement) error {
	rec := cluster.StoreRecord{Store: pl.Store, Nonce: randomNonce()}
	for _, m := range pl.Machines {
		rec.Slots = append(rec.Slots, cluster.SlotRef{Slot: newSlotID(), Machine: m})
	}
	key := coord.StoreKey(pl.Store)
	_, _, err := b.coord.Txn(ctx, coord.Txn{If: []coord.Compare{{Key: key}}, Then: []coord.Op{coord.Put(key, rec.Encode())}})
	if err != nil {
		return unavailable(err)
	}
	return nil // one that exists by now was made by an earlier attempt
}
