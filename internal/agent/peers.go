package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/replica"
)

// streamHello opens a replication connection: who calls whom.
type streamHello struct {
	Store cluster.Store  `json:"store"`
	From  cluster.SlotID `json:"from"`
	To    cluster.SlotID `json:"to"`
	// Seed: the caller is to become a copy of the other.
	Seed bool `json:"seed,omitempty"`
	// Body: the caller wants this body and nothing else.
	Body mail.BodyID `json:"body,omitempty"`
}

// peers implements slot.Peers.
type peers struct{ agent *Agent }

// Dial implements slot.Peers.
func (p peers) Dial(ctx context.Context, m cluster.Machine, s cluster.Store, from, to cluster.SlotID) (net.Conn, error) {
	return p.dial(ctx, m, streamHello{Store: s, From: from, To: to})
}

// DialSeed implements slot.Peers.
func (p peers) DialSeed(ctx context.Context, m cluster.Machine, s cluster.Store, from, to cluster.SlotID) (net.Conn, error) {
	return p.dial(ctx, m, streamHello{Store: s, From: from, To: to, Seed: true})
}

func (p peers) dial(ctx context.Context, m cluster.Machine, h streamHello) (net.Conn, error) {
	hello, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode stream hello: %w", err)
	}
	return p.agent.cfg.Dial(ctx, m, hello)
}

// reachTime bounds the question whether others reach a machine.
const reachTime = time.Second

// MayGoAlone implements slot.Peers: if any other machine sees slot id at work on m,
// the fault is more likely ours, and that slot should take over. A machine that
// answers while the slot on it has failed is no reason to wait for it.
func (p peers) MayGoAlone(ctx context.Context, m cluster.Machine, id cluster.SlotID) replica.Verdict {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	kvs, _, err := p.agent.cfg.Coord.List(ctx, coord.MachinesPrefix)
	if err != nil {
		return replica.NoVerdict
	}
	answers := make(chan bool, len(kvs))
	asked := 0
	for _, kv := range kvs {
		other := cluster.Machine(coord.NameOf(kv.Key))
		if other == m || other == p.agent.cfg.Machine {
			continue
		}
		asked++
		go func() {
			ok, err := p.agent.cfg.Remote.Reaches(ctx, other, m, id)
			answers <- err == nil && ok
		}()
	}
	for range asked {
		if <-answers {
			return replica.HandOver
		}
	}
	return replica.GoAlone
}

// HandleReplica serves a replication connection from machine peer until it ends.
func (a *Agent) HandleReplica(ctx context.Context, peer cluster.Machine, hello []byte, conn net.Conn) error {
	var h streamHello
	if err := json.Unmarshal(hello, &h); err != nil {
		return errors.Join(fmt.Errorf("stream hello from %s: %w", peer, err), conn.Close())
	}
	r, err := a.asked(peer, h)
	if err != nil {
		if h.Body != 0 {
			err = errors.Join(err, refuseBody(lively{conn}, err))
		}
		return errors.Join(err, conn.Close())
	}
	switch {
	case h.Body != 0:
		return errors.Join(a.giveBody(r, h.Body, conn), conn.Close())
	case h.Seed:
		return r.AcceptSeed(ctx, h.From, conn)
	}
	return r.Accept(ctx, h.From, conn)
}

// asked finds the slot that a connection from machine peer is for.
func (a *Agent) asked(peer cluster.Machine, h streamHello) (*running, error) {
	r := a.stream(h)
	if r == nil {
		return nil, fmt.Errorf("stream from %s for slot %v of store %s, which is not here", peer, h.To, h.Store)
	}
	// The certificate names the machine; the record names the machine's slots.
	if rec := r.Slot.Status().Record; rec.MachineOf(h.From) != peer {
		return nil, fmt.Errorf("stream from %s claims slot %v, which is not that machine's", peer, h.From)
	}
	return r, nil
}

// stream finds the slot that a connection is for, nil if it is not here.
func (a *Agent) stream(h streamHello) *running {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.slots[h.To]; r != nil && r.found && r.store == h.Store {
		return r
	}
	return nil
}
