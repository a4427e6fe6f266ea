package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Host is a machine that stores can be placed on.
type Host struct {
	Machine cluster.Machine
	Zone    cluster.Zone // "" is a zone of its own
	Weight  int          // 0 means 1
}

// Placement says which machines a store's slots are on, the preferred master first.
type Placement struct {
	Store    cluster.Store
	Machines []cluster.Machine
}

// ErrPlace: there are too few machines or zones.
var ErrPlace = errors.New("cannot place")

// Place puts stores on hosts, copies of each, beside the existing placements,
// which it does not move. Masters are spread by weight; the partners of one
// machine's masters are spread over the others, so that when one of n equal
// machines dies each survivor gets at most ceil(its masters/(n-1)) more. Copies
// of a store are never in one zone.
func Place(hosts []Host, existing []Placement, stores []cluster.Store, copies int) ([]Placement, error) {
	p := placer{load: map[cluster.Machine]*load{}}
	for _, h := range hosts {
		h.Weight = max(h.Weight, 1)
		p.hosts = append(p.hosts, h)
		p.load[h.Machine] = &load{partners: map[cluster.Machine]int{}}
	}
	slices.SortFunc(p.hosts, func(a, b Host) int { return cmp.Compare(a.Machine, b.Machine) })
	for _, e := range existing {
		p.count(e)
	}
	out := make([]Placement, 0, len(stores))
	for _, s := range stores {
		one, err := p.place(s, copies)
		if err != nil {
			return nil, err
		}
		p.count(one)
		out = append(out, one)
	}
	return out, nil
}

// load is what one machine has.
type load struct {
	masters, slots int
	partners       map[cluster.Machine]int // where the other copies of its masters are
}

type placer struct {
	hosts []Host
	load  map[cluster.Machine]*load
}

func (p *placer) count(e Placement) {
	for i, m := range e.Machines {
		l := p.load[m]
		if l == nil {
			continue // a machine that takes no more
		}
		l.slots++
		if i > 0 {
			if master := p.load[e.Machines[0]]; master != nil {
				master.partners[m]++
			}
		} else {
			l.masters++
		}
	}
}

func (p *placer) place(s cluster.Store, copies int) (Placement, error) {
	one := Placement{Store: s}
	taken := map[cluster.Zone]bool{}
	for len(one.Machines) < copies {
		h, ok := p.best(one.Machines, taken)
		if !ok {
			return one, fmt.Errorf("%w store %s: %d copies need as many machines in different zones, there are %d", ErrPlace, s, copies, len(one.Machines))
		}
		one.Machines = append(one.Machines, h.Machine)
		if h.Zone != "" {
			taken[h.Zone] = true
		}
	}
	return one, nil
}

// best picks the next machine of a store that is on those machines already: the
// master's by masters, a partner's by how many of that master's partners it is,
// then by all its slots, all in relation to its weight, then by name.
func (p *placer) best(on []cluster.Machine, taken map[cluster.Zone]bool) (Host, bool) {
	var best *Host
	for i := range p.hosts {
		h := &p.hosts[i]
		if slices.Contains(on, h.Machine) || taken[h.Zone] {
			continue
		}
		if best == nil || p.less(h, best, on) {
			best = h
		}
	}
	if best == nil {
		return Host{}, false
	}
	return *best, true
}

func (p *placer) less(a, b *Host, on []cluster.Machine) bool {
	// x/wa < y/wb without division, for what each would have then.
	share := func(x, y int) int { return cmp.Compare((x+1)*b.Weight, (y+1)*a.Weight) }
	la, lb := p.load[a.Machine], p.load[b.Machine]
	if len(on) == 0 {
		return cmp.Or(share(la.masters, lb.masters), share(la.slots, lb.slots)) < 0
	}
	var pa, pb int
	if master := p.load[on[0]]; master != nil {
		pa, pb = master.partners[a.Machine], master.partners[b.Machine]
	}
	return cmp.Or(share(pa, pb), share(la.slots, lb.slots)) < 0
}
