package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/slot"
)

// Machines ask each other's agents in JSON: few and small questions, none of them
// on the way of a message. A request names its method; docs/protocol/agent.md.

type request struct {
	Method   string          `json:"method"`
	Store    cluster.Store   `json:"store,omitempty"`
	Slot     cluster.SlotID  `json:"slot,omitzero"`
	Machine  cluster.Machine `json:"machine,omitempty"`
	Epoch    cluster.Epoch   `json:"epoch,omitempty"`
	LSN      cluster.LSN     `json:"lsn,omitempty"`
	OldIsOff bool            `json:"old_is_off,omitempty"`
	Address  string          `json:"address,omitempty"`
	Account  string          `json:"account,omitempty"`
	Quota    int64           `json:"quota,omitempty"`
}

type response struct {
	Error    string          `json:"error,omitempty"`
	NotHere  bool            `json:"not_master,omitempty"`
	Status   *Status         `json:"status,omitempty"`
	Reaches  bool            `json:"reaches,omitempty"`
	Digest   *slot.Digest    `json:"digest,omitempty"`
	Position cluster.LSN     `json:"position,omitempty"`
	Machine  cluster.Machine `json:"machine,omitempty"`
}

// Handle answers one request of another machine's agent.
func (a *Agent) Handle(ctx context.Context, _ cluster.Machine, in []byte) []byte {
	var req request
	var resp response
	err := json.Unmarshal(in, &req)
	if err == nil {
		err = a.handle(ctx, req, &resp)
	}
	if err != nil {
		resp = response{Error: err.Error(), NotHere: errors.Is(err, cluster.ErrNotMaster)}
	}
	out, err := json.Marshal(resp)
	if err != nil {
		a.log.Error("answer of agent cannot be encoded", "command", req.Method, "err", err)
	}
	return out
}

func (a *Agent) handle(ctx context.Context, req request, resp *response) error {
	switch req.Method {
	case "status":
		st := a.Status()
		resp.Status = &st
		return nil
	case "reach":
		st, err := a.cfg.Remote.Status(ctx, req.Machine)
		resp.Reaches = err == nil && st.follows(req.Slot)
		return nil
	}
	s, err := a.Slot(req.Store)
	if err != nil {
		return err
	}
	switch req.Method {
	case "nominate":
		if st := s.Status(); st.Slot != req.Slot {
			return fmt.Errorf("store %s has slot %v here, not %v", req.Store, st.Slot, req.Slot)
		}
		if known := s.Status().Record.Epoch; known > req.Epoch {
			return fmt.Errorf("store %s: decided at epoch %d, which is over: epoch %d", req.Store, req.Epoch, known)
		}
		return s.Nominate(replica.Nominate{OldIsOff: req.OldIsOff})
	case "switch":
		return s.SwitchTo(ctx, req.Slot, 0)
	case "await":
		return s.AwaitServing(ctx, req.Epoch)
	case "digest":
		d, err := s.Digest(ctx, req.LSN)
		resp.Digest = &d
		return err
	case "create-account":
		return s.CreateAccount(ctx, req.Account, req.Quota)
	case "delete-account":
		return s.DeleteAccount(ctx, req.Account)
	}
	return fmt.Errorf("unknown method %q: %w", req.Method, cluster.ErrNewer)
}

// Remote asks other machines' agents.
type Remote struct {
	// Call sends a request to machine m and returns its answer.
	Call func(ctx context.Context, m cluster.Machine, req []byte) ([]byte, error)
}

func (r *Remote) ask(ctx context.Context, m cluster.Machine, req request) (response, error) {
	var resp response
	b, err := json.Marshal(req)
	if err != nil {
		return resp, fmt.Errorf("encode request: %w", err)
	}
	out, err := r.Call(ctx, m, b)
	if err != nil {
		return resp, fmt.Errorf("ask agent of %s: %w", m, err)
	}
	if err := json.Unmarshal(out, &resp); err != nil {
		return resp, fmt.Errorf("answer of agent of %s: %w", m, err)
	}
	switch {
	case resp.NotHere:
		return resp, fmt.Errorf("agent of %s: %s: %w", m, resp.Error, cluster.ErrNotMaster)
	case resp.Error != "":
		return resp, fmt.Errorf("agent of %s: %s", m, resp.Error)
	}
	return resp, nil
}

// Status asks machine m for its slots.
func (r *Remote) Status(ctx context.Context, m cluster.Machine) (Status, error) {
	resp, err := r.ask(ctx, m, request{Method: "status"})
	if err != nil || resp.Status == nil {
		return Status{}, errors.Join(err, missing(resp.Status == nil && err == nil))
	}
	return *resp.Status, nil
}

func missing(yes bool) error {
	if yes {
		return errors.New("agent's answer is empty")
	}
	return nil
}

// Reaches asks machine m whether it sees slot id at work on machine other.
func (r *Remote) Reaches(ctx context.Context, m, other cluster.Machine, id cluster.SlotID) (bool, error) {
	resp, err := r.ask(ctx, m, request{Method: "reach", Machine: other, Slot: id})
	return resp.Reaches, err
}

// Nominate asks the slot on m to become its store's master, as was decided when
// the store was at epoch.
func (r *Remote) Nominate(ctx context.Context, m cluster.Machine, s cluster.Store, id cluster.SlotID, epoch cluster.Epoch) error {
	_, err := r.ask(ctx, m, request{Method: "nominate", Store: s, Slot: id, Epoch: epoch})
	return err
}

// Switch asks the master on m to hand over to slot to, and returns when it has.
func (r *Remote) Switch(ctx context.Context, m cluster.Machine, s cluster.Store, to cluster.SlotID) error {
	_, err := r.ask(ctx, m, request{Method: "switch", Store: s, Slot: to})
	return err
}

// AwaitServing returns when the slot of store s on m serves an epoch of at least min.
func (r *Remote) AwaitServing(ctx context.Context, m cluster.Machine, s cluster.Store, min cluster.Epoch) error {
	_, err := r.ask(ctx, m, request{Method: "await", Store: s, Epoch: min})
	return err
}

// Digest asks for the digest of the copy on m, at lsn or later; 0 is now.
func (r *Remote) Digest(ctx context.Context, m cluster.Machine, s cluster.Store, lsn cluster.LSN) (slot.Digest, error) {
	resp, err := r.ask(ctx, m, request{Method: "digest", Store: s, LSN: lsn})
	if err != nil || resp.Digest == nil {
		return slot.Digest{}, errors.Join(err, missing(resp.Digest == nil && err == nil))
	}
	return *resp.Digest, nil
}

// CreateAccount makes the account in store s, whose master is m. Repeating is harmless.
func (r *Remote) CreateAccount(ctx context.Context, m cluster.Machine, s cluster.Store, account string, quota int64) error {
	_, err := r.ask(ctx, m, request{Method: "create-account", Store: s, Account: account, Quota: quota})
	return err
}

// DeleteAccount removes the account from store s, whose master is m.
func (r *Remote) DeleteAccount(ctx context.Context, m cluster.Machine, s cluster.Store, account string) error {
	_, err := r.ask(ctx, m, request{Method: "delete-account", Store: s, Account: account})
	return err
}

// CallTime bounds a question that is answered from memory.
const CallTime = 2 * time.Second
