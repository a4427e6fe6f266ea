package accept

import (
	"net"
	"net/netip"
)

// Address is the address of the peer, an IPv4 one always as such; the zero value
// where there is none.
func Address(nc net.Conn) netip.Addr {
	if nc.RemoteAddr() == nil {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// Loopback reports whether a is an address of this machine.
func Loopback(a netip.Addr) bool { return a.Unmap().IsLoopback() }

// subscriber is an IPv4 address, or the /64 that one subscriber has of IPv6.
func subscriber(a netip.Addr) netip.Prefix {
	a = a.WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(a, bits).Masked()
}
