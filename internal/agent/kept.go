package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
)

// What follows is about what was deleted in an account of store s, whose master is m.
// The errors of package mail that the slot's methods list come back as such.

// Deleted asks what can come back.
func (r *Remote) Deleted(ctx context.Context, m cluster.Machine, s cluster.Store, account string, q slot.DeletedQuery) (slot.Deleted, error) {
	resp, err := r.ask(ctx, m, request{Method: "deleted", Store: s, Account: account, Deleted: &q})
	if err == nil && resp.Deleted == nil {
		err = fmt.Errorf("agent of %s: %w", m, errEmpty)
	}
	if err != nil {
		return slot.Deleted{}, err
	}
	return *resp.Deleted, nil
}

// Undelete brings something back. Repeating is harmless, and gives the first answer.
func (r *Remote) Undelete(ctx context.Context, m cluster.Machine, s cluster.Store, account, by string, u slot.Undelete) (slot.Undeleted, error) {
	resp, err := r.ask(ctx, m, request{Method: "undelete", Store: s, Account: account, By: by, Undelete: &u})
	if err == nil && resp.Undeleted == nil {
		err = fmt.Errorf("agent of %s: %w", m, errEmpty)
	}
	if err != nil {
		return slot.Undeleted{}, err
	}
	return *resp.Undeleted, nil
}

// UndeleteAccount makes a deleted account be there again. Repeating is harmless.
func (r *Remote) UndeleteAccount(ctx context.Context, m cluster.Machine, s cluster.Store, account, by string) error {
	_, err := r.ask(ctx, m, request{Method: "undelete-account", Store: s, Account: account, By: by})
	return err
}

// Purge lets what was deleted go for good; more: ask again. Repeating is harmless.
func (r *Remote) Purge(ctx context.Context, m cluster.Machine, s cluster.Store, account, mailbox, by string) (more bool, err error) {
	resp, err := r.ask(ctx, m, request{Method: "purge", Store: s, Account: account, Mailbox: mailbox, By: by})
	return resp.More, err
}

// History asks who changed what.
func (r *Remote) History(ctx context.Context, m cluster.Machine, s cluster.Store, account string, q slot.HistoryQuery) (slot.History, error) {
	resp, err := r.ask(ctx, m, request{Method: "history", Store: s, Account: account, History: &q})
	if err == nil && resp.History == nil {
		err = fmt.Errorf("agent of %s: %w", m, errEmpty)
	}
	if err != nil {
		return slot.History{}, err
	}
	return *resp.History, nil
}

// Frozen asks which accounts of store s refuse changes.
func (r *Remote) Frozen(ctx context.Context, m cluster.Machine, s cluster.Store) ([]mail.AccountID, error) {
	resp, err := r.ask(ctx, m, request{Method: "frozen", Store: s})
	return resp.Accounts, err
}

var errNoQuestion = errors.New("the request does not say what is asked")

func deleted(ctx context.Context, s *slot.Slot, req request, resp *response) error {
	if req.Deleted == nil {
		return errNoQuestion
	}
	d, err := s.Deleted(ctx, req.Account, *req.Deleted)
	resp.Deleted = &d
	return err
}

func undelete(ctx context.Context, s *slot.Slot, req request, resp *response) error {
	if req.Undelete == nil {
		return errNoQuestion
	}
	u, err := s.Undelete(ctx, req.Account, req.By, *req.Undelete)
	resp.Undeleted = &u
	return err
}

func history(ctx context.Context, s *slot.Slot, req request, resp *response) error {
	if req.History == nil {
		return errNoQuestion
	}
	h, err := s.History(ctx, req.Account, *req.History)
	resp.History = &h
	return err
}
