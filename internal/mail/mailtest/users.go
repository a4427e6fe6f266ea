package mailtest

import (
	"context"
	"sync"

	"github.com/tandemail/tandemail/internal/mail"
)

// Users are those of a [Server], by name: what a directory is to sessions. Safe for
// concurrent use.
type Users struct {
	Server *Server
	Names  map[string]mail.AccountID

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

// Name gives the user whose account that is. mail.ErrNoAccount.
func (u *Users) Name(_ context.Context, id mail.AccountID) (string, error) {
	for name, account := range u.Names {
		if account == id {
			return name, nil
		}
	}
	return "", mail.ErrNoAccount
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
