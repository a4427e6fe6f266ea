package proxy

import (
	"net"
	"net/netip"
	"sync"
)

// limits count who is there. Addresses that are trusted or unknown are not counted.
type limits struct {
	cfg Config

	mu        sync.Mutex
	addresses map[netip.Prefix]int
	users     map[string]int
}

func newLimits(cfg Config) *limits {
	return &limits{cfg: cfg, addresses: map[netip.Prefix]int{}, users: map[string]int{}}
}

// addressIn counts a connection; false if the address has too many already, and
// then it is not counted.
func (l *limits) addressIn(a netip.Addr) bool {
	if !a.IsValid() || l.cfg.Trusted(a) {
		return true
	}
	return enter(l, l.addresses, subscriber(a), l.cfg.MaxPerAddress)
}

func (l *limits) addressOut(a netip.Addr) {
	if a.IsValid() && !l.cfg.Trusted(a) {
		leave(l, l.addresses, subscriber(a))
	}
}

func (l *limits) userIn(user string) bool { return enter(l, l.users, user, l.cfg.MaxPerUser) }
func (l *limits) userOut(user string)     { leave(l, l.users, user) }

func enter[K comparable](l *limits, m map[K]int, k K, most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m[k] >= most {
		return false
	}
	m[k]++
	return true
}

func leave[K comparable](l *limits, m map[K]int, k K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m[k]--; m[k] <= 0 {
		delete(m, k)
	}
}

// subscriber is an IPv4 address, or the /64 that one subscriber has of IPv6.
func subscriber(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(a, bits).Masked()
}

// addressOf is the client's address; the zero value where there is none.
func addressOf(nc net.Conn) netip.Addr {
	if nc.RemoteAddr() == nil {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
