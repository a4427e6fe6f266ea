// Package install makes a host a machine of a cluster: the first, which founds it
// (Init), or another, which a token lets in (Join). It makes keys, certificates,
// directories and the configuration, and starts nothing that stays.
//
// What holds:
//
//   - Nothing that is there is overwritten.
//   - The configuration is written last: where it is, all the rest is.
//   - Only Init founds a coordinator. The configuration it and Join write lets a
//     member without data join, and never found.
package install

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/pki"
)

// Plan is what will be made. Every field is to be given, but for what Join is told.
type Plan struct {
	Cluster string   `json:"cluster"`
	Machine string   `json:"machine"`
	Zone    string   `json:"zone"`
	Roles   []string `json:"roles"`
	// Address is the IP address at which other machines and mail clients reach this one.
	Address string `json:"address"`
	Ports   Ports  `json:"ports"`
	Config  string `json:"config"` // the configuration's file
	Meta    string `json:"meta"`
	Spool   string `json:"spool"`
	// Etcd is one of the site's own, nil where machines run the coordinator's members.
	Etcd *Etcd `json:"etcd,omitempty"`
	// Owner is the user that the daemon runs as and that gets the files; "" is who
	// installs.
	Owner string `json:"owner,omitempty"`
}

// Etcd is a cluster of the site's own that is the coordinator. The files are read on
// this host, and stay where they are.
type Etcd struct {
	// Endpoints are its members' client URLs. Who joins is told.
	Endpoints []string `json:"endpoints,omitempty"`
	// CA signed the members' certificates; Certificate and Key are this host's for it.
	CA          string `json:"ca,omitempty"`
	Certificate string `json:"certificate,omitempty"`
	Key         string `json:"key,omitempty"`
}

// Ports are those of the machine; 0 is not served.
type Ports struct {
	Internal int `json:"internal"`
	LMTP     int `json:"lmtp"`
	IMAP     int `json:"imap"`
	HTTP     int `json:"http"` // on loopback
	// Member is the coordinator's for clients; the next is that for its peers.
	Member int `json:"member"`
}

func (p Plan) at(port int) string { return net.JoinHostPort(p.Address, strconv.Itoa(port)) }

func (p Plan) pki() string { return filepath.Join(p.Meta, "pki") }

func (p Plan) etcd() string { return filepath.Join(p.Meta, "etcd") }

// has: without any roles the token says which, and that may be every one.
func (p Plan) has(role string) bool { return len(p.Roles) == 0 || slices.Contains(p.Roles, role) }

// Check says everything that is in the way of the plan.
func (p Plan) Check(ctx context.Context) error {
	var errs []error
	for _, path := range []string{p.Config, filepath.Join(p.Meta, "slots"), filepath.Join(p.Spool, "slots"), p.etcd()} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("%s is there already", path))
		}
	}
	if _, err := pki.Load(p.pki()); err == nil {
		errs = append(errs, fmt.Errorf("%s has an identity already", p.pki()))
	}
	if pki.Issues(p.pki()) {
		errs = append(errs, fmt.Errorf("%s has a CA already", p.pki()))
	}
	if _, err := lookUp(p.Owner); err != nil {
		errs = append(errs, err)
	}
	if ip, err := netip.ParseAddr(p.Address); err != nil || ip.IsUnspecified() {
		return errors.Join(append(errs, fmt.Errorf("%q is no IP address that others can reach", p.Address))...)
	}
	for _, addr := range p.addresses() {
		errs = append(errs, free(ctx, addr))
	}
	p.Cluster = cmp.Or(p.Cluster, "unknown") // what it is only the cluster can say
	_, _, err := p.render(nil, p.runsMember())
	return errors.Join(append(errs, err, writable(filepath.Dir(p.Config)))...)
}

// writable makes sure that the last step will not fail when all others are done.
func writable(dir string) error {
	for {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			break
		}
		dir = filepath.Dir(dir) // where it will be made
	}
	f, err := os.CreateTemp(dir, ".tandemail-*")
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// addresses are those that will be listened on.
func (p Plan) addresses() []string {
	out := []string{p.at(p.Ports.Internal)}
	if p.has(config.RoleFront) {
		for _, port := range []int{p.Ports.LMTP, p.Ports.IMAP} {
			if port != 0 {
				out = append(out, p.at(port))
			}
		}
	}
	if p.runsMember() {
		out = append(out, p.at(p.Ports.Member), p.at(p.Ports.Member+1))
	}
	return append(out, p.http())
}

// runsMember: as far as the plan goes. Of who joins, the cluster decides.
func (p Plan) runsMember() bool { return p.Etcd == nil && p.has(config.RoleControl) }

func (p Plan) http() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Ports.HTTP)) }

func free(ctx context.Context, addr string) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return ln.Close()
}
