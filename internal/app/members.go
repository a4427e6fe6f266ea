package app

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/coord/etcd"
)

const (
	// membersEvery is how often the coordinator is asked for its members.
	membersEvery = 30 * time.Second
	// membersFile, in meta, has the client URLs of the coordinator's members as they
	// were last seen. A configuration knows only those of the day it was written.
	membersFile = "coordinator.json"
)

// knownMembers are the configured endpoints and those that were seen later.
func (m *machine) knownMembers() []string {
	known := slices.Clone(m.cfg.Control.Endpoints)
	b, err := os.ReadFile(filepath.Join(m.cfg.Meta, membersFile))
	var seen []string
	if err == nil && json.Unmarshal(b, &seen) == nil {
		known = append(known, seen...)
	}
	slices.Sort(known)
	return slices.Compact(known)
}

// endpoints are asked at first. A member that founds the cluster, or is the only
// one, is the nearest and stands for its quorum; another may have no vote yet, and
// answers nobody until it has.
func (m *machine) endpoints() []string {
	known := m.knownMembers()
	member := m.cfg.Control.Member
	if member == nil {
		return known
	}
	others := slices.DeleteFunc(known, func(e string) bool { return e == member.Client })
	if len(member.Initial) > 0 || len(others) == 0 {
		return []string{member.Client}
	}
	return others
}

// followMembers keeps to this machine's own member once it has a vote, and to all
// that have one before and without. It remembers them for the next start.
func (m *machine) followMembers(ctx context.Context) error {
	if !m.ownMembers() {
		<-ctx.Done()
		return ctx.Err()
	}
	voting := m.voting
	tick := time.NewTicker(membersEvery)
	defer tick.Stop()
	for {
		if err := m.seeMembers(ctx, voting == nil && m.voting != nil); err != nil {
			m.log.Debug("coordinator's members not seen", "err", err)
		}
		select {
		case <-voting:
			voting = nil
			m.etcd.SetEndpoints([]string{m.cfg.Control.Member.Client})
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ownMembers reports whether the coordinator's members are the cluster's machines.
func (m *machine) ownMembers() bool { return !m.cfg.Control.Plain() && m.cfg.Control.CA == "" }

// seeMembers asks for the members; own says that this machine's own is enough.
func (m *machine) seeMembers(ctx context.Context, own bool) error {
	members, err := m.etcd.Members(ctx)
	if err != nil {
		return err
	}
	urls := voters(members)
	if len(urls) == 0 {
		return nil
	}
	if !own {
		m.etcd.SetEndpoints(urls)
	}
	if slices.Equal(urls, m.seen) {
		return nil
	}
	m.seen = urls
	return m.rememberMembers(urls)
}

// voters are the client URLs of the members that have a vote.
func voters(members []etcd.Peer) []string {
	var urls []string
	for _, o := range members {
		if !o.Learner {
			urls = append(urls, o.Client...)
		}
	}
	slices.Sort(urls)
	return urls
}

func (m *machine) rememberMembers(urls []string) error {
	b, err := json.Marshal(urls)
	if err != nil {
		return fmt.Errorf("encode members: %w", err)
	}
	path := filepath.Join(m.cfg.Meta, membersFile)
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return fmt.Errorf("remember members: %w", err)
	}
	return os.Rename(path+".new", path)
}
