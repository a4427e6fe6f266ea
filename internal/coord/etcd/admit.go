package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

const (
	// pollInterval is between two rounds while a cluster may be founded, and
	// waitInterval once that has taken longer than quickPhase, or between two
	// attempts to join.
	pollInterval = 40 * time.Millisecond
	waitInterval = 500 * time.Millisecond
	quickPhase   = 10 * time.Second
	// blindInterval is between two attempts to join through the configured
	// endpoints while no first member shows a cluster.
	blindInterval = 5 * time.Second
	// joinTimeout bounds one attempt to join.
	joinTimeout = 3 * time.Second
	// reportInterval is between two lines of log about the same wait.
	reportInterval = 10 * time.Second
)

// errTaken: no wait helps, a person must correct a configuration.
var errTaken = errors.New("the name is taken")

// hasData: there is a log. etcd takes its directory in place as the last step of
// its making, so a log is a whole one.
func (m *Member) hasData() bool {
	return wal.Exist(filepath.Join(m.cfg.Dir, "member", "wal"))
}

// admit decides how a member without data starts: as a founder under the identity
// that all first members compute alike, or as a new member in place of the one
// whose data is gone. It blocks until one of them is safe, or ctx ends.
//
// A cluster that exists never gets an old identity back, not even that of a first
// member which has not been seen yet: there is no telling from outside whether it
// voted or acknowledged something before its data was lost. It is removed, and the
// new one is a learner, which has no vote until it has everything.
func (m *Member) admit(ctx context.Context) error {
	f, err := newFounding(m.own)
	if err != nil || f.alone() {
		return err
	}
	ask, err := newAsker(m.own.Name, m.cfg.PeerTLSInfo)
	if err != nil {
		return fmt.Errorf("read TLS files: %w", err)
	}
	room, err := openLobby(m.cfg.ListenPeerUrls[0], m.cfg.PeerTLSInfo, f.id)
	if err != nil {
		return err
	}
	defer room.close()
	w := &wait{log: m.log, began: time.Now()}
	for ctx.Err() == nil {
		round := ask.round(ctx, f)
		room.merge(round)
		if f.note(time.Now(), round) {
			return nil
		}
		pause := pollInterval
		if endpoints := m.toJoin(w, f, round); len(endpoints) > 0 {
			err := m.join(ctx, endpoints)
			if err == nil || errors.Is(err, errTaken) {
				return err
			}
			w.err, pause = err, waitInterval
		}
		w.pause(ctx, pause, round)
	}
	return ctx.Err()
}

// toJoin returns whom to ask for admission now, if anybody.
func (m *Member) toJoin(w *wait, f *founding, round map[string]answer) []string {
	endpoints := slices.Clone(m.own.Endpoints)
	exists := f.never
	for _, a := range round {
		endpoints = append(endpoints, a.clients...)
		exists = exists || a.sight == running
	}
	if now := time.Now(); !exists {
		if now.Sub(w.tried) < blindInterval || now.Sub(w.began) < blindInterval {
			return nil
		}
		w.tried = now
	}
	endpoints = slices.DeleteFunc(endpoints, func(e string) bool { return e == m.own.ClientURL })
	slices.Sort(endpoints)
	return slices.Compact(endpoints)
}

// join takes this member's place in the cluster that endpoints belong to. Every
// step asks for a quorum. It may end anywhere: the next attempt begins with what
// the cluster then has.
func (m *Member) join(ctx context.Context, endpoints []string) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	c, err := m.client(endpoints)
	if err != nil {
		return err
	}
	defer c.Close()
	have, err := listMembers(ctx, c)
	if err != nil {
		return err
	}
	for _, other := range have.Members {
		switch {
		case slices.Contains(other.PeerURLs, m.own.PeerURL):
			m.log.Warn("data of this coordinator member is gone, it is replaced by a new one", "member", idString(other.ID))
			if _, err := c.MemberRemove(ctx, other.ID); err != nil {
				return fmt.Errorf("remove member %s: %w", idString(other.ID), err)
			}
		case other.Name == m.own.Name:
			return fmt.Errorf("member %s is %s at %v and has to be removed before it can be here: %w",
				idString(other.ID), other.Name, other.PeerURLs, errTaken)
		}
	}
	added, err := c.MemberAddAsLearner(ctx, []string{m.own.PeerURL})
	if err != nil {
		return fmt.Errorf("add member: %w", err)
	}
	m.cfg.InitialCluster = clusterOf(m.own.Name, added.Member.ID, added.Members)
	m.cfg.ClusterState = embed.ClusterStateFlagExisting
	m.log.Info("coordinator member added to the cluster", "member", idString(added.Member.ID))
	return nil
}

// listMembers asks for what a quorum agrees on now.
func listMembers(ctx context.Context, c *clientv3.Client) (*clientv3.MemberListResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	list, err := c.MemberList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	return list, nil
}

func (m *Member) client(endpoints []string) (*clientv3.Client, error) {
	config, err := m.own.TLS.client()
	if err != nil {
		return nil, err
	}
	return clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: config, DialTimeout: joinTimeout, Logger: zapLogger(m.log, quiet, nil)})
}

// clusterOf is the list a joining member starts with: exactly the cluster's, with
// a name for each.
func clusterOf(name string, self uint64, members []*etcdserverpb.Member) string {
	var out []string
	for _, o := range members {
		label := idString(o.ID)
		if o.ID == self {
			label = name
		}
		for _, u := range o.PeerURLs {
			out = append(out, label+"="+u)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

// setAside clears the way for a new member: what is left without a log belongs to
// no member any more. The first such rest is kept, for salvage.
func (m *Member) setAside() error {
	dir, kept := filepath.Join(m.cfg.Dir, "member"), filepath.Join(m.cfg.Dir, "member.without-log")
	if _, err := os.Stat(filepath.Join(dir, "snap", "db")); err == nil {
		if _, err := os.Stat(kept); errors.Is(err, os.ErrNotExist) {
			return os.Rename(dir, kept)
		}
	}
	return os.RemoveAll(dir)
}
