package install

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/etcd"
	"github.com/tandemail/tandemail/internal/pki"
)

// foundTime bounds the founding of a coordinator, which takes a second.
const foundTime = time.Minute

// Init makes this host the first machine of a new cluster. Its coordinator exists
// then, with this machine as the only member, and stands still; an etcd of the site's
// own must be there, and knows the machine then. What a failed attempt has made on
// this host is removed again.
func Init(ctx context.Context, p Plan, now func() time.Time, log *slog.Logger) (err error) {
	if !p.has(config.RoleControl) {
		return errors.New("the first machine has the CA's key and runs the coordinator: it needs the role control")
	}
	if err := p.Check(ctx); err != nil {
		return err
	}
	own, err := lookUp(p.Owner)
	if err != nil {
		return err
	}
	if p.Etcd != nil && len(p.Etcd.Endpoints) == 0 {
		return errors.New("an etcd of the site's own has endpoints")
	}
	text, cfg, err := p.render(nil, p.runsMember())
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(p.pki()), os.RemoveAll(p.etcd()))
		}
	}()
	if err := p.makeDirs(); err != nil {
		return err
	}
	id, err := certifySelf(p, now)
	if err != nil {
		return err
	}
	if e := p.Etcd; e != nil {
		err = p.register(ctx, e.Endpoints, etcd.Files{CA: e.CA, Cert: e.Certificate, Key: e.Key}, id)
	} else {
		err = found(ctx, p, cfg, id, log)
	}
	if err != nil {
		return err
	}
	if err := own.give(p.Meta, p.Spool); err != nil {
		return err
	}
	return writeConfig(p.Config, text)
}

func (p Plan) makeDirs() error {
	for _, dir := range []string{p.Meta, p.Spool} {
		// What is above them is not secret, and the daemon's user has to get through.
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	}
	return nil
}

// certifySelf makes the CA and this machine's own certificate.
func certifySelf(p Plan, now func() time.Time) (*pki.Identity, error) {
	ca, err := pki.CreateCA(p.pki(), p.Cluster, now)
	if err != nil {
		return nil, err
	}
	req, err := pki.NewRequest(p.pki(), cluster.Machine(p.Machine))
	if err != nil {
		return nil, err
	}
	cert, _, _, err := ca.Sign(req)
	if err != nil {
		return nil, err
	}
	if err := pki.Install(p.pki(), cert, ca.CertPEM()); err != nil {
		return nil, err
	}
	return pki.Load(p.pki())
}

// found runs the coordinator for the moment it takes to be founded and to learn of
// its first machine.
func found(ctx context.Context, p Plan, cfg *config.Config, id *pki.Identity, log *slog.Logger) error {
	ctx, cancel := context.WithTimeoutCause(ctx, foundTime, fmt.Errorf("the coordinator was not ready after %v", foundTime))
	defer cancel()
	cert, key, ca := pki.Paths(p.pki())
	tls := etcd.Files{Cert: cert, Key: key, CA: ca, ServerName: pki.HostName}
	m := cfg.Control.Member
	member, err := etcd.NewMember(etcd.MemberConfig{
		Name: p.Machine, Dir: m.Dir, ClientURL: m.Client, PeerURL: m.Peer, Token: "tandemail-" + p.Cluster, TLS: tls, Log: log,
	})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- member.Run(running) }()
	select {
	case <-member.Ready():
		err = p.register(ctx, []string{m.Client}, tls, id)
	case err = <-ended:
		stop()
		return fmt.Errorf("found the coordinator: %w", errors.Join(err, context.Cause(ctx)))
	}
	stop()
	return errors.Join(err, <-ended)
}

// register writes the machine's record: from then on the cluster has a member.
func (p Plan) register(ctx context.Context, endpoints []string, tls etcd.Files, id *pki.Identity) error {
	c, err := etcd.Connect(etcd.Config{Endpoints: endpoints, TLS: tls})
	if err != nil {
		return err
	}
	defer c.Close()
	rec := coord.MachineRecord{
		Machine: id.Machine, Zone: cluster.Zone(p.Zone), Link: p.at(p.Ports.Internal), HTTP: p.http(), Key: id.Key.String(),
		Storage: p.has(config.RoleStorage), Control: p.runsMember(), Issuer: true,
	}
	key := coord.MachineKey(rec.Machine)
	if others, _, err := c.List(ctx, coord.Root); err != nil || len(others) > 0 {
		return errors.Join(fmt.Errorf("the coordinator at %v must answer, and know no cluster: %d keys", endpoints, len(others)), err)
	}
	ok, _, err := c.Txn(ctx, coord.Txn{If: []coord.Compare{{Key: key}}, Then: []coord.Op{coord.Put(key, coord.Encode(rec))}})
	if err == nil && !ok {
		err = errors.New("it is there already")
	}
	if err != nil {
		return fmt.Errorf("write the record of machine %s: %w", rec.Machine, err)
	}
	return nil
}
