package app

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/slot"
)

// SkipOp implements api.Backend: an operation is given up in the store's record,
// from which every copy learns it before it gets there (docs/format/slot.md).
func (b *backend) SkipOp(ctx context.Context, s cluster.Store, req api.SkipRequest) (api.SkipReport, error) {
	skip := cluster.Skip{LSN: req.LSN, By: req.By, Reason: req.Reason}
	if skip.By == "" || skip.Reason == "" || max(len(skip.By), len(skip.Reason)) > cluster.MaxSkipText {
		return api.SkipReport{}, &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("who gives an operation up, and why, takes 1 to %d octets each", cluster.MaxSkipText)}
	}
	begun := time.Now()
	for range maxAttempts {
		rec, rev, err := b.record(ctx, s)
		if err != nil {
			return api.SkipReport{}, err
		}
		r, err := b.planSkip(ctx, rec, req.LSN)
		if err != nil || req.PlanOnly {
			return r, err
		}
		next := rec.Clone()
		next.Skipped, next.Nonce = append(next.Skipped, skip), randomNonce()
		ok, _, err := b.coord.Txn(ctx, coord.Txn{
			If:   []coord.Compare{{Key: coord.StoreKey(s), Rev: rev}},
			Then: []coord.Op{coord.Put(coord.StoreKey(s), next.Encode())},
		})
		if err != nil {
			return r, unavailable(err)
		}
		if ok {
			r.Done = true
			b.note(ctx, coord.HistoryEntry{
				At: begun, By: req.By, Kind: "skip-op", Store: s, Epoch: rec.Epoch, Took: time.Since(begun),
				Reason: fmt.Sprintf("%s operation at %d (%s): %s", r.Kind, r.LSN, r.Error, req.Reason),
			})
			return r, nil
		}
	}
	return api.SkipReport{}, conflict("ask again", "the record of store %s changes all the time", s)
}

// planSkip says what giving up the operation at lsn means, or why it cannot be: a
// copy must have stopped at it, and none that answers may have applied it.
func (b *backend) planSkip(ctx context.Context, rec cluster.StoreRecord, lsn cluster.LSN) (api.SkipReport, error) {
	r := api.SkipReport{Store: rec.Store, LSN: lsn, Frozen: []api.FrozenAccount{}, Stopped: []cluster.Machine{}, Silent: []cluster.Machine{}}
	show := "tandemail store show " + string(rec.Store)
	switch {
	case cluster.Skips(rec.Skipped, lsn):
		return r, conflict(show, "the operation at %d was given up already", lsn)
	case len(rec.Skipped) >= cluster.MaxSkips:
		return r, conflict("move its users to another store", "store %s has given up %d operations, and no store may more", rec.Store, cluster.MaxSkips)
	}
	var fault *slot.Fault
	for _, ref := range rec.Slots {
		st, ok := b.askSlot(ctx, ref)
		switch {
		case !ok:
			r.Silent = append(r.Silent, ref.Machine)
		case st.Applied > lsn:
			return r, conflict("give the other copies a release that can apply it, or new slots", "the copy of store %s on %s has applied the operation at %d", rec.Store, ref.Machine, lsn)
		case st.Fault != nil && st.Fault.LSN == lsn:
			fault = st.Fault
			r.Stopped = append(r.Stopped, ref.Machine)
		}
	}
	switch {
	case fault == nil:
		return r, conflict(show, "no copy of store %s has stopped at operation %d", rec.Store, lsn)
	case fault.Newer:
		return r, conflict("upgrade the machines", "a newer release wrote the operation at %d; it is not given up", lsn)
	case fault.Kind == "Fork":
		return r, conflict("", "the operation at %d begins a new history; without it numbers of messages would be used twice", lsn)
	}
	r.Kind, r.Error = fault.Kind, fault.Reason
	names := map[string]string{}
	for u := range b.users.List() {
		names[u.Account.String()] = u.Name
	}
	for _, id := range fault.Accounts {
		r.Frozen = append(r.Frozen, api.FrozenAccount{Account: id.String(), Address: names[id.String()]})
	}
	return r, nil
}

// askSlot asks a slot's machine how it is; false without an answer about it.
func (b *backend) askSlot(ctx context.Context, ref cluster.SlotRef) (agent.SlotStatus, bool) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	st, err := b.remote.Status(ctx, ref.Machine)
	if err != nil {
		return agent.SlotStatus{}, false
	}
	for _, x := range st.Slots {
		if x.Slot == ref.Slot {
			return x, true
		}
	}
	return agent.SlotStatus{}, false
}

// ThawUser implements api.Backend.
func (b *backend) ThawUser(ctx context.Context, address string, req api.ThawRequest) (api.User, error) {
	begun := time.Now()
	u, err := b.users.Lookup(ctx, address)
	if err != nil {
		return api.User{}, userError(address, err)
	}
	err = b.atMaster(ctx, u.Store, func(ctx context.Context, m cluster.Machine) error {
		return b.remote.FreezeAccount(ctx, m, u.Store, u.Account.String(), false, req.By, req.Reason)
	})
	if err != nil {
		return api.User{}, err
	}
	b.note(ctx, coord.HistoryEntry{
		At: begun, By: req.By, Kind: "thaw", Store: u.Store, Reason: u.Name + ": " + req.Reason, Took: time.Since(begun),
	})
	return userOf(u), nil
}
