package install

import (
	"errors"
	"net"
	"strings"

	"github.com/tandemail/tandemail/internal/coord"
)

// machineName is a host's name without its domain, "" if that can be no machine's.
func machineName(host string) string {
	name, _, _ := strings.Cut(strings.ToLower(host), ".")
	if !coord.ValidName(name) || strings.HasSuffix(name, "-") {
		return ""
	}
	return name
}

// errAddress: a person has to say which.
var errAddress = errors.New("this host has not exactly one address that others could reach it at")

// OnlyAddress is the address of this host, if it has only one that others may reach.
func OnlyAddress() (string, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	return onlyOf(all)
}

// onlyOf prefers IPv4: a host has one of those, or none.
func onlyOf(all []net.Addr) (string, error) {
	var four, six []string
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		switch {
		case !ok || !n.IP.IsGlobalUnicast():
		case n.IP.To4() != nil:
			four = append(four, n.IP.String())
		default:
			six = append(six, n.IP.String())
		}
	}
	switch {
	case len(four) == 1:
		return four[0], nil
	case len(four) == 0 && len(six) == 1:
		return six[0], nil
	}
	return "", errAddress
}
