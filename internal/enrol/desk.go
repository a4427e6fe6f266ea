package enrol

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/pki"
)

// Roles that decisions depend on: control issues certificates and may run a member.
const roleControl, roleStorage = "control", "storage"

// Members is what the coordinator's members are now.
type Members struct {
	// Endpoints are their client URLs.
	Endpoints []string
	// Room: another may run one, since they are ours and not too many.
	Room bool
}

// Desk lets machines in. All fields are required.
type Desk struct {
	Cluster string
	Coord   coord.Coord
	// CA reads the authority, if it is here.
	CA      func() (*pki.CA, error)
	Members func(ctx context.Context) (Members, error)
	Now     func() time.Time
	Log     *slog.Logger
}

// Serve answers one request on nc.
func (d *Desk) Serve(ctx context.Context, nc net.Conn) {
	log := d.Log.With("remote", nc.RemoteAddr().String())
	var req Request
	if err := receive(nc, &req); err != nil {
		log.Warn("request to join not understood", "err", err)
		return
	}
	a, err := d.admit(ctx, req)
	var no *Refusal
	switch {
	case errors.As(err, &no):
		log.Warn("machine not let in", "machine", string(req.Machine), "err", err)
		a = Answer{Refused: no.Reason, Hint: no.Hint}
	case err != nil:
		log.Error("machine not let in", "machine", string(req.Machine), "err", err)
		a = Answer{Refused: "this machine could not do it; its log says why", Hint: "try again"}
	default:
		log.Info("machine joined the cluster", "machine", string(req.Machine))
	}
	a.Version = wireVersion
	if err := send(nc, a); err != nil {
		log.Warn("answer to a machine that joins not sent", "machine", string(req.Machine), "err", err)
	}
}

func refuse(hint, format string, args ...any) error {
	return &Refusal{Reason: fmt.Sprintf(format, args...), Hint: hint}
}

const createHint = "make another on a machine of the cluster: tandemail token create"

// admit checks the token and the request, and lets the machine in.
func (d *Desk) admit(ctx context.Context, req Request) (Answer, error) {
	if req.Version != wireVersion {
		return Answer{}, refuse("install the same release on both", "the request has version %d, this release knows %d", req.Version, wireVersion)
	}
	if !coord.ValidName(string(req.Machine)) || req.Link == "" {
		return Answer{}, refuse("", "machine %q at %q is none", req.Machine, req.Link)
	}
	ca, err := d.CA()
	if err != nil {
		return Answer{}, fmt.Errorf("the CA's key is not here: %w", err)
	}
	cert, name, key, err := ca.Sign([]byte(req.CSR))
	if err != nil || name != req.Machine {
		return Answer{}, refuse("", "the request for a certificate is not one of machine %s", req.Machine)
	}
	members, err := d.Members(ctx)
	if err != nil {
		return Answer{}, err
	}
	roles, member, err := d.enter(ctx, req, key.String(), members)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{
		Cluster: d.Cluster, Roles: roles, Certificate: string(cert), CA: string(ca.CertPEM()), Endpoints: members.Endpoints, Member: member,
	}
	if slices.Contains(roles, roleControl) {
		b, err := ca.KeyPEM()
		if err != nil {
			return Answer{}, err
		}
		a.CAKey = string(b)
	}
	return a, nil
}

// maxTries bounds the attempts of a transaction that others get in the way of.
const maxTries = 10

// enter uses the token up and writes the machine's record, in one transaction.
func (d *Desk) enter(ctx context.Context, req Request, key string, members Members) (roles []string, member bool, err error) {
	for range maxTries {
		e, err := d.look(ctx, req, key)
		if err != nil {
			return nil, false, err
		}
		member = members.Room && slices.Contains(e.roles, roleControl)
		ok, _, err := d.Coord.Txn(ctx, e.txn(req, key, member, d.Now()))
		switch {
		case err != nil:
			return nil, false, fmt.Errorf("write the record of machine %s: %w", req.Machine, err)
		case ok:
			return e.roles, member, nil
		}
	}
	return nil, false, refuse("try again", "others change the membership all the time")
}

// entry is what is known when a machine wants in.
type entry struct {
	hash              string
	token             coord.TokenRecord
	tokenRev, nameRev cluster.Rev
	caRev             cluster.Rev         // of the CA's last change
	before            coord.MachineRecord // who had the name
	again             bool                // the same machine, with the same key
	roles             []string
}

func (d *Desk) look(ctx context.Context, req Request, key string) (e entry, err error) {
	e.hash = hashOf(req.Secret)
	if e.caRev, err = settled(ctx, d.Coord); err != nil {
		return e, err
	}
	v, rev, err := d.Coord.Get(ctx, coord.TokenKey(e.hash))
	if err != nil {
		return e, fmt.Errorf("read token: %w", err)
	}
	if rev == 0 {
		return e, refuse(createHint, "this token is not known to the cluster")
	}
	e.tokenRev = rev
	if e.token, err = coord.Decode[coord.TokenRecord](coord.KV{Key: coord.TokenKey(e.hash), Value: v}); err != nil {
		return e, err
	}
	for _, u := range e.token.Used {
		e.again = e.again || u.Machine == req.Machine && u.Key == key
	}
	if err := e.checkToken(req, d.Now()); err != nil {
		return e, err
	}
	return e, d.lookAtName(ctx, &e, req, key)
}

// checkToken says why this machine may not use the token now.
func (e *entry) checkToken(req Request, now time.Time) error {
	t := e.token
	e.roles = req.Roles
	if len(e.roles) == 0 {
		e.roles = t.Roles
	}
	for _, r := range e.roles {
		if !slices.Contains(t.Roles, r) {
			return refuse("tandemail token create --roles", "this token does not allow role %q", r)
		}
	}
	switch {
	case now.After(t.Expires):
		return refuse(createHint, "this token has expired")
	case t.Machine != "" && t.Machine != req.Machine:
		return refuse(createHint, "this token is for another machine")
	case len(t.Used) >= t.Uses && !e.again:
		return refuse(createHint, "this token was used already")
	}
	return nil
}

// lookAtName: a name and an address belong to one machine, and a key that was struck
// never comes back.
func (d *Desk) lookAtName(ctx context.Context, e *entry, req Request, key string) error {
	if _, rev, err := d.Coord.Get(ctx, coord.StruckKey(key)); err != nil || rev != 0 {
		if err != nil {
			return fmt.Errorf("read struck keys: %w", err)
		}
		return refuse("remove machine.key, so that it makes another", "the key of this machine was struck from the membership")
	}
	kvs, _, err := d.Coord.List(ctx, coord.MachinesPrefix)
	if err != nil {
		return fmt.Errorf("read machines: %w", err)
	}
	for _, kv := range kvs {
		rec, err := coord.Decode[coord.MachineRecord](kv)
		if err != nil {
			return err
		}
		switch {
		case rec.Machine == req.Machine:
			e.before, e.nameRev = rec, kv.Rev
		case rec.Link == req.Link:
			return refuse("", "machine %s is at %s already", rec.Machine, req.Link)
		}
	}
	if e.nameRev != 0 && e.before.Key != key && !e.token.Replace {
		return refuse(
			"choose another name with --name; for a new machine in its place: tandemail token create --replace --machine "+string(req.Machine),
			"there is a machine %s already", req.Machine)
	}
	return nil
}

func (e *entry) txn(req Request, key string, member bool, now time.Time) coord.Txn {
	rec := e.before // what operators have set stays
	rec.Machine, rec.Zone, rec.Link, rec.Key = req.Machine, req.Zone, req.Link, key
	rec.Storage, rec.Control = slices.Contains(e.roles, roleStorage), member
	token := coord.TokenKey(e.hash)
	t := coord.Txn{
		If: []coord.Compare{
			{Key: token, Rev: e.tokenRev}, {Key: coord.MachineKey(req.Machine), Rev: e.nameRev}, {Key: coord.StruckKey(key)}, {Key: coord.RotationKey, Rev: e.caRev},
		},
		Then: []coord.Op{coord.Put(coord.MachineKey(req.Machine), coord.Encode(rec))},
	}
	if !e.again {
		used := e.token
		used.Used = append(slices.Clone(used.Used), coord.TokenUse{Machine: req.Machine, Key: key, At: now})
		t.Then = append(t.Then, coord.Put(token, coord.Encode(used)))
	}
	if old := e.before.Key; old != "" && old != key {
		struck := coord.StruckRecord{Machine: req.Machine, At: now, By: "a new machine of that name"}
		t.Then = append(t.Then, coord.Put(coord.StruckKey(old), coord.Encode(struck)))
	}
	return t
}
