package agent

import (
	"context"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
)

// What follows is about who may do what with the mailboxes of an account of store s, whose
// master is m. The errors of package mail that the slot's methods list come back as such.

// ACLs asks for the rights in one mailbox, for "" in all that are granted to somebody;
// more: these are not all.
func (r *Remote) ACLs(ctx context.Context, m cluster.Machine, s cluster.Store, account, mailbox string) (list []slot.ACL, more bool, err error) {
	resp, err := r.ask(ctx, m, request{Method: "acls", Store: s, Account: account, Mailbox: mailbox})
	return resp.ACLs, resp.More, err
}

// SetACL changes the rights in a mailbox. Repeating is harmless.
func (r *Remote) SetACL(ctx context.Context, m cluster.Machine, s cluster.Store, account, by string, c slot.ACLChange) error {
	_, err := r.ask(ctx, m, request{Method: "set-acl", Store: s, Account: account, By: by, ACL: &c})
	return err
}

// Granted asks whether any mailbox is granted to a user by name, or for the zero id to anyone.
func (r *Remote) Granted(ctx context.Context, m cluster.Machine, s cluster.Store, account string, user mail.AccountID) (bool, error) {
	resp, err := r.ask(ctx, m, request{Method: "granted", Store: s, Account: account, User: user})
	return resp.Granted, err
}

func setACL(ctx context.Context, s *slot.Slot, req request, _ *response) error {
	if req.ACL == nil {
		return errNoQuestion
	}
	return s.SetACL(ctx, req.Account, req.By, *req.ACL)
}
