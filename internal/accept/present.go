package accept

import (
	"net/netip"
	"sync"
)

// present is the connections that are there.
type present[C Conn] struct {
	max, perAddress int

	mu        sync.Mutex
	conns     map[C]struct{}
	addresses map[netip.Prefix]int
	done      bool // no more are taken
	wg        sync.WaitGroup
}

func newPresent[C Conn](max, perAddress int) *present[C] {
	return &present[C]{max: max, perAddress: perAddress, conns: map[C]struct{}{}, addresses: map[netip.Prefix]int{}}
}

// enter takes c, counted for the address a; the zero prefix is not counted.
func (p *present[C]) enter(c C, a netip.Prefix) Refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.done:
		return Stopping
	case len(p.conns) >= p.max:
		return Full
	case a.IsValid() && p.addresses[a] >= p.perAddress:
		return Crowded
	}
	if a.IsValid() {
		p.addresses[a]++
	}
	p.conns[c] = struct{}{}
	p.wg.Add(1)
	return admitted
}

func (p *present[C]) leave(c C, a netip.Prefix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	if a.IsValid() {
		if p.addresses[a]--; p.addresses[a] == 0 {
			delete(p.addresses, a)
		}
	}
	p.wg.Done()
}

func (p *present[C]) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = true
}

func (p *present[C]) stopping() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

func (p *present[C]) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

func (p *present[C]) all() []C {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]C, 0, len(p.conns))
	for c := range p.conns {
		all = append(all, c)
	}
	return all
}
