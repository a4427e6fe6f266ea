package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/tail"
)

// Remote asks other machines' agents. Errors: cluster.ErrNotMaster, the slot asked
// is not there, or not the master; cluster.ErrUnknown, it may have happened;
// cluster.ErrNewer, the other machine's release does not know the method.
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
	ctx, cancel := context.WithTimeout(ctx, timeOf(req.Method))
	defer cancel()
	out, err := r.Call(ctx, m, b)
	if err != nil {
		return resp, fmt.Errorf("ask agent of %s: %w", m, err)
	}
	if err := json.Unmarshal(out, &resp); err != nil {
		return resp, fmt.Errorf("answer of agent of %s: %w", m, err)
	}
	if resp.Error == "" {
		return resp, nil
	}
	if kind := resp.Code.err(); kind != nil {
		return resp, fmt.Errorf("agent of %s: %s: %w", m, resp.Error, kind)
	}
	return resp, fmt.Errorf("agent of %s: %s", m, resp.Error)
}

var errEmpty = errors.New("answer is empty")

// Status asks machine m for its slots.
func (r *Remote) Status(ctx context.Context, m cluster.Machine) (Status, error) {
	resp, err := r.ask(ctx, m, request{Method: "status"})
	if err == nil && resp.Status == nil {
		err = fmt.Errorf("agent of %s: %w", m, errEmpty)
	}
	if err != nil {
		return Status{}, err
	}
	return *resp.Status, nil
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

// Force asks the slot on m, which is not in sync, to become its store's master, as
// was decided on revision rev of the record, of epoch. oldIsOff vouches that every
// member of the in-sync set is off.
func (r *Remote) Force(ctx context.Context, m cluster.Machine, s cluster.Store, id cluster.SlotID, epoch cluster.Epoch, rev cluster.Rev, oldIsOff bool) error {
	_, err := r.ask(ctx, m, request{Method: "nominate", Store: s, Slot: id, Epoch: epoch, Forced: true, Rev: rev, OldIsOff: oldIsOff})
	return err
}

// Switch asks the master on m to hand over to slot to, and returns when it has.
func (r *Remote) Switch(ctx context.Context, m cluster.Machine, s cluster.Store, to cluster.SlotID) error {
	_, err := r.ask(ctx, m, request{Method: "switch", Store: s, Slot: to})
	return err
}

// Reseed has the slot on m give its data up and become a copy of its store's master.
func (r *Remote) Reseed(ctx context.Context, m cluster.Machine, s cluster.Store, id cluster.SlotID) error {
	_, err := r.ask(ctx, m, request{Method: "reseed", Store: s, Slot: id})
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
	if err == nil && resp.Digest == nil {
		err = fmt.Errorf("agent of %s: %w", m, errEmpty)
	}
	if err != nil {
		return slot.Digest{}, err
	}
	return *resp.Digest, nil
}

// Had asks the master of store s, which is m, which of asks its history has had: see
// slot.Slot.Had.
func (r *Remote) Had(ctx context.Context, m cluster.Machine, s cluster.Store, from cluster.LSN, asks []slot.Ask) ([]bool, error) {
	resp, err := r.ask(ctx, m, request{Method: "had", Store: s, LSN: from, Asks: asks})
	return resp.Had, err
}

// Tails asks machine m for the reports of what forced failovers left there.
func (r *Remote) Tails(ctx context.Context, m cluster.Machine) ([]*tail.Report, error) {
	resp, err := r.ask(ctx, m, request{Method: "tails"})
	return resp.Tails, err
}

// CreateAccount makes the account in store s, whose master is m. Repeating is harmless.
func (r *Remote) CreateAccount(ctx context.Context, m cluster.Machine, s cluster.Store, account string, quota int64) error {
	_, err := r.ask(ctx, m, request{Method: "create-account", Store: s, Account: account, Quota: quota})
	return err
}

// DeleteAccount removes the account from store s, whose master is m. Repeating is
// harmless.
func (r *Remote) DeleteAccount(ctx context.Context, m cluster.Machine, s cluster.Store, account string) error {
	_, err := r.ask(ctx, m, request{Method: "delete-account", Store: s, Account: account})
	return err
}

// FreezeAccount makes the account in store s, whose master is m, refuse changes, or
// no longer. Repeating is harmless.
func (r *Remote) FreezeAccount(ctx context.Context, m cluster.Machine, s cluster.Store, account string, on bool, by, reason string) error {
	_, err := r.ask(ctx, m, request{Method: "freeze-account", Store: s, Account: account, On: on, By: by, Reason: reason})
	return err
}
