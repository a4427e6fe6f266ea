package mailtest

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/tandemail/tandemail/internal/mail"
)

// Users are those of a [Server], by name: what a directory is to sessions. Safe for
// concurrent use.
type Users struct {
	Server *Server
	Names  map[string]mail.AccountID
	Shared map[mail.AccountID]bool // whose accounts are nobody's own

	mu     sync.Mutex
	grants map[[2]mail.AccountID]bool // owner, user
}

// User gives a user's account. mail.ErrNoAccount.
func (u *Users) User(_ context.Context, name string) (mail.AccountID, error) {
	id, ok := u.Names[name]
	if !ok {
		return id, mail.ErrNoAccount
	}
	return id, nil
}

// Name gives the user whose account that is, and whether it is shared. mail.ErrNoAccount.
func (u *Users) Name(_ context.Context, id mail.AccountID) (name string, shared bool, err error) {
	for name, account := range u.Names {
		if account == id {
			return name, u.Shared[id], nil
		}
	}
	return "", false, mail.ErrNoAccount
}

// Granted notes whether an owner has granted anything to a user.
func (u *Users) Granted(_ context.Context, owner, user mail.AccountID, on bool) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.grants == nil {
		u.grants = map[[2]mail.AccountID]bool{}
	}
	if u.grants[[2]mail.AccountID{owner, user}] = on; !on {
		delete(u.grants, [2]mail.AccountID{owner, user})
	}
	return nil
}

// For is what the user of an account sees of all others.
func (u *Users) For(user mail.AccountID) Others { return Others{u, user} }

// Others are [Users] as one of them sees them.
type Others struct {
	*Users
	user mail.AccountID
}

// Owners lists who has granted anything to the user, or to anyone, by name.
func (o Others) Owners(context.Context) (list []mail.AccountID, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(o.Names)) {
		owner := o.Names[name]
		if owner != o.user && (o.grants[[2]mail.AccountID{owner, o.user}] || o.grants[[2]mail.AccountID{owner, {}}]) {
			list = append(list, owner)
		}
	}
	return list, nil
}

// Open gives another user's account as the user finds it. mail.ErrNoAccount.
func (o Others) Open(ctx context.Context, owner mail.AccountID) (mail.Account, error) {
	if _, _, err := o.Name(ctx, owner); err != nil || owner == o.user {
		return nil, mail.ErrNoAccount
	}
	return o.Server.Account(owner).As(o.user), nil
}

// OpenAs gives an account as any user finds it. mail.ErrNoAccount.
func (o Others) OpenAs(ctx context.Context, owner, user mail.AccountID) (mail.Account, error) {
	if _, _, err := o.Name(ctx, owner); err != nil {
		return nil, err
	}
	return o.Server.Account(owner).As(user), nil
}
