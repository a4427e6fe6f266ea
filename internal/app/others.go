package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/imapd"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// others is what a session on this machine sees of other users.
type others struct{ users *directory.Directory }

func (m *machine) others(session.Open) imapd.Others { return others{m.users} }

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
func (o others) Name(_ context.Context, id mail.AccountID) (string, error) {
	u, ok := o.users.ByAccount(id)
	if !ok {
		return "", mail.ErrNoAccount
	}
	return u.Name, nil
}

// Granted implements imapd.Others.
func (o others) Granted(ctx context.Context, owner, user mail.AccountID, on bool) error {
	return o.users.SetGrant(ctx, owner, user, on)
}
