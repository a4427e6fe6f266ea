package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/imapd"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// others is what a session on this machine sees of other users.
type others struct {
	users   *directory.Directory
	account func(cluster.Store, mail.AccountID) mail.Account
	user    mail.AccountID
}

func (m *machine) others(o session.Open) imapd.Others {
	return others{m.users, m.accounts.Account, o.Account}
}

// User implements imapd.Others.
func (o others) User(ctx context.Context, name string) (mail.AccountID, error) {
	u, err := o.users.Lookup(ctx, name)
	switch {
	case errors.Is(err, directory.ErrNoUser), errors.Is(err, directory.ErrBadAddress):
		return mail.AccountID{}, fmt.Errorf("%w: %w", mail.ErrNoAccount, err)
	case err != nil:
		return mail.AccountID{}, err
	}
	return u.Account, nil
}

// Name implements imapd.Others.
func (o others) Name(_ context.Context, id mail.AccountID) (name string, shared bool, err error) {
	u, ok := o.users.ByAccount(id)
	if !ok {
		return "", false, mail.ErrNoAccount
	}
	return u.Name, u.Shared, nil
}

// Granted implements imapd.Others.
func (o others) Granted(ctx context.Context, owner, user mail.AccountID, on bool) error {
	return o.users.SetGrant(ctx, owner, user, on)
}

// Owners implements imapd.Others.
func (o others) Owners(context.Context) (list []mail.AccountID, err error) {
	for _, u := range o.users.Owners(o.user) {
		list = append(list, u.Account)
	}
	return list, nil
}

// Open implements imapd.Others.
func (o others) Open(ctx context.Context, owner mail.AccountID) (mail.Account, error) {
	if owner == o.user {
		return nil, mail.ErrNoAccount
	}
	return o.OpenAs(ctx, owner, o.user)
}

// OpenAs implements imapd.Others.
func (o others) OpenAs(_ context.Context, owner, user mail.AccountID) (mail.Account, error) {
	u, ok := o.users.ByAccount(owner)
	if !ok {
		return nil, mail.ErrNoAccount
	}
	return o.account(u.Store, owner).As(user), nil
}
