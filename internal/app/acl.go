package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
)

// anyone is the identifier of everybody who has come in.
const anyone = "anyone"

// ACL implements api.Backend.
func (b *backend) ACL(ctx context.Context, address string, req api.ACLRequest) (api.ACLReport, error) {
	r := api.ACLReport{Mailboxes: []api.MailboxACL{}}
	change, err := parseACL(req)
	if err != nil {
		return r, err
	}
	u, err := b.users.Lookup(ctx, address)
	if err != nil {
		return r, userError(address, err)
	}
	if req.Identifier != "" {
		if change.User, err = b.identified(ctx, req.Identifier); err == nil {
			err = b.setACL(ctx, u, req.By, change)
		}
		if err != nil {
			return r, err
		}
	}
	var list []slot.ACL
	err = b.atMaster(ctx, u.Store, func(ctx context.Context, m cluster.Machine) (err error) {
		list, r.More, err = b.remote.ACLs(ctx, m, u.Store, u.Account.String(), req.Mailbox)
		return err
	})
	r.Address, r.Account = u.Name, u.Account.String()
	for _, a := range list {
		shown := api.MailboxACL{Mailbox: a.Mailbox, ACL: []api.ACLEntry{}}
		for _, g := range a.Grants {
			shown.ACL = append(shown.ACL, api.ACLEntry{Identifier: b.identifier(g.User), Rights: g.Rights.String()})
		}
		r.Mailboxes = append(r.Mailboxes, shown)
	}
	return r, err
}

// parseACL is what a request wants to change, but for whose rights.
func parseACL(req api.ACLRequest) (c slot.ACLChange, err error) {
	bad := func(message, hint string) (slot.ACLChange, error) {
		return c, &api.Error{Status: http.StatusBadRequest, Message: message, Hint: hint}
	}
	c = slot.ACLChange{Session: newSlotID().String(), Number: 1, Mailbox: req.Mailbox}
	switch text := req.Rights; {
	case req.Identifier == "" && (text != "" || req.Delete):
		return bad("whose rights shall change is not said", "")
	case req.Identifier != "" && req.Mailbox == "":
		return bad("rights are of one mailbox: name it", "")
	case text != "" && req.Delete:
		return bad("rights are changed or removed, not both", "")
	case req.Delete:
		c.Mode = mail.DeleteGrant
	case strings.HasPrefix(text, "+"):
		c.Mode = mail.AddRights
	case strings.HasPrefix(text, "-"):
		c.Mode = mail.RemoveRights
	}
	letters := req.Rights
	if c.Mode != mail.ReplaceRights && letters != "" {
		letters = letters[1:]
	}
	var ok bool
	if c.Rights, ok = mail.ParseRights(letters); !ok {
		return bad(fmt.Sprintf("%q are no rights", req.Rights), "letters of lrswipkxtea, such as lrs, or +i to add one")
	}
	return c, nil
}

// identified is who an identifier means, zero for anyone.
func (b *backend) identified(ctx context.Context, identifier string) (id mail.AccountID, err error) {
	if identifier == anyone || id.UnmarshalText([]byte(identifier)) == nil {
		return id, nil
	}
	u, err := b.users.Lookup(ctx, identifier)
	if err != nil {
		return id, userError(identifier, err)
	}
	return u.Account, nil
}

// identifier is by what name a user is shown: one that is no user's any more by the
// account's id.
func (b *backend) identifier(id mail.AccountID) string {
	if id.IsZero() {
		return anyone
	}
	if u, ok := b.users.ByAccount(id); ok {
		return u.Name
	}
	return id.String()
}

// setACL changes the rights in a mailbox. That a user is granted something is noted where
// he looks for it before it is granted, as over IMAP.
func (b *backend) setACL(ctx context.Context, u directory.User, by string, c slot.ACLChange) error {
	foreign := c.User != u.Account
	if foreign && c.Rights != 0 && c.Mode != mail.RemoveRights {
		if err := b.users.SetGrant(ctx, u.Account, c.User, true); err != nil {
			return unavailable(err)
		}
	}
	err := b.atMaster(ctx, u.Store, func(ctx context.Context, m cluster.Machine) error {
		return b.remote.SetACL(ctx, m, u.Store, u.Account.String(), by, c)
	})
	if foreign {
		b.settleGrant(ctx, u, c.User)
	}
	return err
}

// settleGrant notes whether a user is granted anything; twice, because another session may
// have granted something meanwhile. If it cannot be noted he is asked for in vain.
func (b *backend) settleGrant(ctx context.Context, u directory.User, who mail.AccountID) {
	for range 2 {
		var granted bool
		err := b.atMaster(ctx, u.Store, func(ctx context.Context, m cluster.Machine) (err error) {
			granted, err = b.remote.Granted(ctx, m, u.Store, u.Account.String(), who)
			return err
		})
		if err == nil {
			err = b.users.SetGrant(ctx, u.Account, who, granted)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			b.log.Warn("directory may not say right who was granted something", "user", u.Name, "err", err)
			return
		}
	}
}
