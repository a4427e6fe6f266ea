package app

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord/etcd"
)

const (
	// membersEvery is how often the coordinator is asked for its members.
	membersEvery = 30 * time.Second
	// membersFile, in meta, has notes. A configuration knows only the members of the
	// day it was written.
	membersFile = "coordinator.json"
)

// notes are what this machine knows of the others when nobody tells it.
type notes struct {
	Members []string `json:"members"`
	// Machines are the internal ports of all, Issuers those that renew certificates.
	Machines map[cluster.Machine]string `json:"machines"`
	Issuers  []cluster.Machine          `json:"issuers"`
}

// remembered is empty if nothing is, or nothing that can be read.
func (m *machine) remembered() notes {
	var seen notes
	b, err := os.ReadFile(filepath.Join(m.cfg.Meta, membersFile))
	if err != nil || json.Unmarshal(b, &seen) != nil {
		return notes{}
	}
	return seen
}

// issuers are the machines that renew certificates, as of the last look.
func (m *machine) issuers() []cluster.Machine {
	var out []cluster.Machine
	for _, rec := range m.routes.Machines() {
		if rec.Issuer {
			out = append(out, rec.Machine)
		}
	}
	if len(out) == 0 {
		return m.remembered().Issuers
	}
	return out
}

// knownMembers are the configured endpoints and those that were seen later.
func (m *machine) knownMembers() []string {
	known := append(slices.Clone(m.cfg.Control.Endpoints), m.remembered().Members...)
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
	if !m.routes.Listed() {
		return nil // later: what is in the file is more than nothing
	}
	now := notes{Members: urls, Machines: map[cluster.Machine]string{}}
	for _, rec := range m.routes.Machines() {
		now.Machines[rec.Machine] = rec.Link
		if rec.Issuer {
			now.Issuers = append(now.Issuers, rec.Machine)
		}
	}
	if reflect.DeepEqual(now, m.seen) {
		return nil
	}
	m.seen = now
	return m.remember(now)
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

func (m *machine) remember(seen notes) error {
	b, err := json.Marshal(seen)
	if err != nil {
		return fmt.Errorf("encode members: %w", err)
	}
	path := filepath.Join(m.cfg.Meta, membersFile)
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return fmt.Errorf("remember members: %w", err)
	}
	return os.Rename(path+".new", path)
}
