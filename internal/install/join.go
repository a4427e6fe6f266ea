package install

import (
	"context"
	"fmt"
	"os"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/enrol"
	"github.com/tandemail/tandemail/internal/pki"
)

// Joined is what the cluster made of the plan.
type Joined struct {
	Plan
	// Endpoints are the coordinator's members.
	Endpoints []string `json:"endpoints"`
	// Member: this machine will run one, too.
	Member bool `json:"member"`
}

// Join makes this host a machine of the cluster that the token is from, whose name
// and, if the plan has none, roles are the cluster's to say. After a failure it may
// be repeated with the same token: the key that it has made is kept.
func Join(ctx context.Context, p Plan, t enrol.Token) (j Joined, err error) {
	if err := p.Check(ctx); err != nil {
		return j, err
	}
	own, err := lookUp(p.Owner)
	if err != nil {
		return j, err
	}
	if err := p.makeDirs(); err != nil {
		return j, err
	}
	csr, err := pki.NewRequest(p.pki(), cluster.Machine(p.Machine))
	if err != nil {
		return j, err
	}
	a, err := enrol.Ask(ctx, t, enrol.Request{
		Machine: cluster.Machine(p.Machine), Zone: cluster.Zone(p.Zone), Roles: p.Roles, Link: p.at(p.Ports.Internal), CSR: string(csr),
	})
	if err != nil {
		return j, fmt.Errorf("join: %w", err)
	}
	p.Cluster, p.Roles = a.Cluster, a.Roles
	j = Joined{Plan: p, Endpoints: a.Endpoints, Member: a.Member}
	return j, j.write(a, own)
}

// write keeps what the cluster has answered, the configuration last.
func (j Joined) write(a enrol.Answer, own *owner) error {
	endpoints := j.Endpoints
	if j.Member {
		endpoints = append(endpoints[:len(endpoints):len(endpoints)], j.memberURL(0))
	}
	text, _, err := j.render(endpoints, j.Member)
	if err != nil {
		return err
	}
	if err := pki.Install(j.pki(), []byte(a.Certificate), []byte(a.CA)); err != nil {
		return err
	}
	if a.CAKey != "" && j.has(config.RoleControl) {
		if err := pki.InstallCA(j.pki(), []byte(a.CAKey)); err != nil {
			return err
		}
	}
	if err := own.give(j.Meta, j.Spool); err != nil {
		return err
	}
	return writeConfig(j.Config, text)
}

// Hostname is this host's name as a machine's may be, "" if it cannot be one.
func Hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return machineName(name)
}
