package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/pki"
	"github.com/tandemail/tandemail/internal/route"
)

const (
	leaseTTL      = 3 * time.Second
	registerPause = 500 * time.Millisecond
)

// keepRegistered writes this machine's record and holds its lease, again and again.
// It ends when the machine has been removed from the cluster.
func (m *machine) keepRegistered(ctx context.Context) error {
	boot := make([]byte, 8)
	if _, err := rand.Read(boot); err != nil {
		return fmt.Errorf("draw boot id: %w", err)
	}
	live := coord.LiveRecord{Machine: m.name, Boot: hex.EncodeToString(boot), Since: time.Now(), Level: cluster.CurrentLevel}
	for ctx.Err() == nil {
		err := m.registered(ctx, live)
		if errors.Is(err, errStruck) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			m.log.Warn("not registered in the cluster", "err", err)
		}
		select {
		case <-time.After(registerPause):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// registered lasts as long as one lease.
func (m *machine) registered(ctx context.Context, live coord.LiveRecord) error {
	if err := m.putMachine(ctx, func(*coord.MachineRecord) {}); err != nil {
		return err
	}
	lease, err := m.coord.Lease(ctx, leaseTTL)
	if err != nil {
		return fmt.Errorf("take lease: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := lease.Close(ctx); err != nil {
			m.log.Debug("lease not given back", "err", err)
		}
	}()
	if _, _, err := lease.Txn(ctx, coord.Txn{Then: []coord.Op{coord.Put(coord.LiveKey(m.name), coord.Encode(live))}}); err != nil {
		return fmt.Errorf("write live key: %w", err)
	}
	return m.whileListed(ctx, lease.Lost())
}

// whileListed returns when the lease is lost, or the record is there no more.
func (m *machine) whileListed(ctx context.Context, lost <-chan struct{}) error {
	listed := false
	for {
		changed := m.routes.Changed()
		rec, ok := m.routes.Machine(m.name)
		ours := ok && rec.Key == m.identity.Key.String()
		if listed && !ours {
			return errNoMember
		}
		listed = ours
		select {
		case <-changed:
		case <-lost:
			return coord.ErrLeaseLost
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// putMachine writes this machine's record, keeping what operators have set.
func (m *machine) putMachine(ctx context.Context, change func(*coord.MachineRecord)) error {
	struck := coord.StruckKey(m.identity.Key.String())
	switch _, rev, err := m.coord.Get(ctx, struck); {
	case errors.Is(err, coord.ErrRefused) && m.ownMembers():
		return fmt.Errorf("%w: %w", errStruck, err)
	case err != nil:
		return fmt.Errorf("read struck keys: %w", err)
	case rev != 0:
		return errStruck
	}
	return m.changeMachine(ctx, m.name, func(rec *coord.MachineRecord) {
		rec.Machine, rec.Zone = m.name, cluster.Zone(m.cfg.Zone)
		rec.Link, rec.HTTP = m.cfg.Listen.Internal, m.cfg.Listen.HTTP
		rec.Key = m.identity.Key.String()
		rec.Storage, rec.Control = m.cfg.Has(config.RoleStorage), m.cfg.Control.Member != nil
		rec.Issuer, rec.CertificateEnds = m.issues(), m.certificateEnd()
		change(rec)
	}, coord.Compare{Key: struck})
}

var (
	errNoMember = errors.New("not a member of this cluster")
	errOtherKey = errors.New("the cluster knows this machine by another key")
	errStruck   = errors.New("this machine was removed from the cluster: its key was struck")
)

// allowed asks the membership: a member is who has a record, with its key. A machine that cannot
// read the records, because it starts while the coordinator is away, takes every
// machine that the cluster's CA has certified until it can: its partners must be
// able to go on with it.
func (m *machine) allowed(peer cluster.Machine, key pki.KeyID) error {
	rec, member := m.routes.Machine(peer)
	switch {
	case !member && m.routes.Listed():
		return errNoMember
	case member && rec.Key != "" && rec.Key != key.String():
		return errOtherKey
	}
	return nil
}

// eachChange calls f now and at each change of the table, until ctx ends.
func eachChange(ctx context.Context, t *route.Table, f func()) error {
	for {
		changed := t.Changed()
		f()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

const maxAttempts = 10

// changeMachine changes the record of a machine by compare-and-swap, if the guards
// hold.
func (m *machine) changeMachine(ctx context.Context, name cluster.Machine, change func(*coord.MachineRecord), guards ...coord.Compare) error {
	key := coord.MachineKey(name)
	for range maxAttempts {
		b, rev, err := m.coord.Get(ctx, key)
		if err != nil {
			return fmt.Errorf("read record of machine %s: %w", name, err)
		}
		var rec coord.MachineRecord
		if rev != 0 {
			if rec, err = coord.Decode[coord.MachineRecord](coord.KV{Key: key, Value: b}); err != nil {
				return err
			}
		}
		change(&rec)
		next := coord.Encode(rec)
		if bytes.Equal(next, b) {
			return nil
		}
		ok, _, err := m.coord.Txn(ctx, coord.Txn{
			If: append([]coord.Compare{{Key: key, Rev: rev}}, guards...), Then: []coord.Op{coord.Put(key, next)},
		})
		if err != nil {
			return fmt.Errorf("write record of machine %s: %w", name, err)
		}
		if ok {
			return nil
		}
	}
	return fmt.Errorf("write record of machine %s: others change it all the time", name)
}
