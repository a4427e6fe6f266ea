package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/enrol"
	"github.com/tandemail/tandemail/internal/pki"
)

const (
	// maxMembers is how many members a coordinator grows to by itself: each more
	// makes every write slower, and five survive the loss of two.
	maxMembers = 5
	// maxAddresses is how many machines a token names.
	maxAddresses = 3
	maxUses      = 100
	maxMinutes   = 7 * 24 * 60
)

// issues reports whether this machine has the CA's key, and may use it.
func (m *machine) issues() bool { return m.cfg.Has(config.RoleControl) && pki.Issues(m.cfg.PKI.Dir) }

// guest serves those who have no certificate yet; nil where there is none to be had.
func (m *machine) guest() func(context.Context, net.Conn) {
	if !m.issues() {
		return nil
	}
	desk := &enrol.Desk{
		Cluster: m.cfg.Cluster, Coord: m.coord, Now: time.Now, Log: m.log, Members: m.members,
		CA: func() (*pki.CA, error) { return pki.LoadCA(m.cfg.PKI.Dir, time.Now) },
	}
	return desk.Serve
}

// members says what a new machine has to know of the coordinator.
func (m *machine) members(ctx context.Context) (enrol.Members, error) {
	if !m.ownMembers() {
		return enrol.Members{Endpoints: m.cfg.Control.Endpoints}, nil
	}
	list, err := m.etcd.Members(ctx)
	if err != nil {
		return enrol.Members{}, err
	}
	return enrol.Members{Endpoints: voters(list), Room: len(list) < maxMembers}, nil
}

var allRoles = []string{config.RoleStorage, config.RoleFront, config.RoleControl}

// CreateToken implements api.Backend.
func (b *backend) CreateToken(ctx context.Context, req api.TokenRequest) (api.Token, error) {
	if err := checkToken(req); err != nil {
		return api.Token{}, err
	}
	addresses, err := b.desks(ctx)
	if err != nil {
		return api.Token{}, err
	}
	authority, err := b.identity.Issuer()
	if err != nil {
		return api.Token{}, err
	}
	now := time.Now()
	rec := coord.TokenRecord{
		Machine: req.Machine, Roles: req.Roles, Replace: req.Replace, Uses: max(req.Uses, 1),
		Made: now, Expires: now.Add(time.Duration(cmp.Or(req.Minutes, 60)) * time.Minute),
	}
	if len(rec.Roles) == 0 {
		rec.Roles = allRoles
	}
	t, err := enrol.Create(ctx, b.coord, authority, addresses, rec, rand.Reader)
	var no *enrol.Refusal
	switch {
	case errors.As(err, &no):
		return api.Token{}, conflict(no.Hint, "%s", no.Reason)
	case err != nil:
		return api.Token{}, unavailable(err)
	}
	text, err := t.Text()
	return api.Token{Token: text, ID: tokenID(t.Hash()), Expires: rec.Expires}, err
}

// tokenID is enough of a hash to name one token among a few.
func tokenID(hash string) string { return hash[:min(len(hash), 12)] }

// Tokens implements api.Backend: those that can still be used.
func (b *backend) Tokens(ctx context.Context) ([]api.TokenStatus, error) {
	list, err := enrol.List(ctx, b.coord)
	if err != nil {
		return nil, unavailable(err)
	}
	out := []api.TokenStatus{}
	for _, t := range list {
		if time.Now().After(t.Expires) {
			continue
		}
		s := api.TokenStatus{
			ID: tokenID(t.Hash), Machine: t.Machine, Roles: t.Roles, Replace: t.Replace, Made: t.Made, Expires: t.Expires,
			Uses: t.Uses, Used: []cluster.Machine{},
		}
		for _, u := range t.Used {
			s.Used = append(s.Used, u.Machine)
		}
		out = append(out, s)
	}
	return out, nil
}

// RevokeToken implements api.Backend.
func (b *backend) RevokeToken(ctx context.Context, id string) error {
	list, err := enrol.List(ctx, b.coord)
	if err != nil {
		return unavailable(err)
	}
	for _, t := range list {
		if tokenID(t.Hash) != id {
			continue
		}
		if err := enrol.Revoke(ctx, b.coord, t); err != nil {
			return unavailable(err)
		}
		return nil
	}
	return notFound("there is no token %s", id)
}

func checkToken(req api.TokenRequest) error {
	bad := func(format string, args ...any) error {
		return &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
	}
	for _, r := range req.Roles {
		if !slices.Contains(allRoles, r) {
			return bad("there is no role %q", r)
		}
	}
	switch {
	case req.Machine != "" && !coord.ValidName(string(req.Machine)):
		return bad("%q is no name of a machine", req.Machine)
	case req.Replace && req.Machine == "":
		return bad("a token that replaces a machine names it")
	case req.Uses < 0 || req.Uses > maxUses || req.Minutes < 0 || req.Minutes > maxMinutes:
		return bad("a token can be used up to %d times, for up to %d minutes", maxUses, maxMinutes)
	}
	return nil
}

// desks are the addresses of machines that let others in, this one's first.
func (b *backend) desks(ctx context.Context) ([]string, error) {
	kvs, _, err := b.coord.List(ctx, coord.MachinesPrefix)
	if err != nil {
		return nil, unavailable(err)
	}
	var out []string
	for _, kv := range kvs {
		rec, err := coord.Decode[coord.MachineRecord](kv)
		switch {
		case err != nil:
			return nil, err
		case !rec.Issuer:
		case rec.Machine == b.name:
			out = slices.Insert(out, 0, rec.Link)
		default:
			out = append(out, rec.Link)
		}
	}
	if len(out) == 0 {
		return nil, conflict("the first machine of a cluster has it: tandemail init", "no machine of this cluster has the CA's key")
	}
	return out[:min(len(out), maxAddresses)], nil
}
