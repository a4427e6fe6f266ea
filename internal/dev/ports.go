package dev

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are drawn below the range from which the kernel gives ports to outgoing
// connections: one of those must not take the port of a machine that is dead for
// a while.
const (
	firstPort = 20_000
	lastPort  = 32_000
	portTries = 1_000
)

// ports draws n different free addresses on loopback.
func ports(n int) ([]string, error) {
	var open []net.Listener
	defer func() {
		for _, ln := range open {
			ln.Close()
		}
	}()
	var addrs []string
	var err error
	for range portTries {
		if len(addrs) == n {
			return addrs, nil
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort)))
		var ln net.Listener
		if ln, err = net.Listen("tcp", addr); err == nil {
			open = append(open, ln) // kept until all are drawn, so that none comes twice
			addrs = append(addrs, addr)
		}
	}
	return nil, fmt.Errorf("find free ports: %w", err)
}

// addresses names m's addresses.
func (m *Machine) addresses() []struct {
	name string
	addr *string
} {
	return []struct {
		name string
		addr *string
	}{
		{"lmtp", &m.LMTP},
		{"imap", &m.IMAP},
		{"local imap", &m.IMAPLocal},
		{"pop3", &m.POP3},
		{"http", &m.HTTP},
		{"internal", &m.Internal},
		{"etcd client", &m.EtcdC},
		{"etcd peer", &m.EtcdP},
	}
}

// taken reports which of m's addresses, which a cluster keeps for ever, somebody
// else has now.
func (m Machine) taken() error {
	var errs []error
	for _, a := range m.addresses() {
		ln, err := net.Listen("tcp", *a.addr)
		if err != nil {
			errs = append(errs, fmt.Errorf("address of %s for %s is taken: %w", m.Name, a.name, err))
			continue
		}
		ln.Close()
	}
	return errors.Join(errs...)
}
