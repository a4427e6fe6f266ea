package imapd

import (
	"context"

	"github.com/tandemail/tandemail/internal/mail"
)

// Others is who and what there is beside the session's own account. Safe for concurrent
// use.
type Others interface {
	// User finds a user by name, in any spelling that is the same. mail.ErrNoAccount:
	// there is certainly none.
	User(ctx context.Context, name string) (mail.AccountID, error)
	// Name is by what name a user is known, and whether the account is shared: nobody's
	// own. mail.ErrNoAccount: by none any more.
	Name(ctx context.Context, id mail.AccountID) (name string, shared bool, err error)
	// Granted notes whether an owner has granted anything to a user, zero for anyone.
	// Who was noted may have nothing any more.
	Granted(ctx context.Context, owner, user mail.AccountID, on bool) error
	// Owners lists who may have granted anything to the session's user, or to anyone, in
	// the order of their names. The user is not among them.
	Owners(ctx context.Context) ([]mail.AccountID, error)
	// Open gives another user's account as the session's user finds it (Account.As).
	// mail.ErrNoAccount: there is none, or it is the session's own.
	Open(ctx context.Context, owner mail.AccountID) (mail.Account, error)
	// OpenAs gives an account as a user finds it who need not be the session's: what that
	// user has authorised others to read (RFC 4467). mail.ErrNoAccount.
	OpenAs(ctx context.Context, owner, user mail.AccountID) (mail.Account, error)
}
