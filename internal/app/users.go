package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sort"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/route"
)

func userOf(u directory.User) api.User {
	state := "active"
	if u.State != directory.Active {
		state = string(u.State)
	}
	return api.User{Address: u.Name, Account: u.Account.String(), Store: u.Store, State: state, SCRAM: u.Verifier != "", Shared: u.Shared}
}

// userError says what is wrong with an address.
func userError(address string, err error) error {
	switch {
	case errors.Is(err, directory.ErrNoUser):
		return notFound("there is no user %s", address)
	case errors.Is(err, directory.ErrExists):
		return conflict("tandemail user where "+address, "%s exists already", address)
	case errors.Is(err, directory.ErrBadAddress):
		return &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("%q is no address", address), Hint: "such as user@example.org"}
	case errors.Is(err, directory.ErrNotReady):
		return unavailable(err)
	}
	return err
}

// Users implements api.Backend.
func (b *backend) Users(ctx context.Context) ([]api.User, error) {
	if err := b.users.Wait(ctx); err != nil {
		return nil, unavailable(err)
	}
	frozen := b.frozen(ctx)
	users := []api.User{}
	for u := range b.users.List() {
		shown := userOf(u)
		if frozen[u.Account] {
			shown.State = string(directory.Frozen)
		}
		users = append(users, shown)
	}
	sort.Slice(users, func(i, j int) bool { return users[i].Address < users[j].Address })
	return users, nil
}

// AddUser implements api.Backend: the account first, then the entry that makes it
// reachable. What an interrupted attempt leaves behind is an account nobody knows.
func (b *backend) AddUser(ctx context.Context, n api.NewUser) (api.User, error) {
	if n.Password == "" && !n.Shared {
		return api.User{}, noPassword()
	}
	switch _, err := b.users.Lookup(ctx, n.Address); {
	case err == nil:
		return api.User{}, userError(n.Address, directory.ErrExists)
	case !errors.Is(err, directory.ErrNoUser) && !errors.Is(err, directory.ErrIncomplete):
		return api.User{}, userError(n.Address, err) // before there is an account without a user
	}
	u := directory.User{Name: n.Address, Store: n.Store, Account: mail.AccountID(newSlotID()), Shared: n.Shared}
	var err error
	if n.Password != "" {
		if u.Credential, u.Verifier, err = b.secrets(ctx, n.Password); err != nil {
			return api.User{}, err
		}
	}
	if u.Store == "" {
		if u.Store, err = b.users.EmptiestStore(ctx); err != nil {
			return api.User{}, userError(n.Address, err)
		}
	}
	err = b.atMaster(ctx, u.Store, func(ctx context.Context, m cluster.Machine) error {
		return b.remote.CreateAccount(ctx, m, u.Store, u.Account.String(), u.Quota)
	})
	if err != nil {
		return api.User{}, err
	}
	added, err := b.users.Add(ctx, u)
	if err != nil {
		return api.User{}, userError(n.Address, err)
	}
	return userOf(added), nil
}

// ChangeUser implements api.Backend.
func (b *backend) ChangeUser(ctx context.Context, address string, req api.UserChange) (api.User, error) {
	begun := time.Now()
	if req.Shared == nil {
		return api.User{}, &api.Error{Status: http.StatusBadRequest, Message: "the request does not say what to change"}
	}
	u, err := b.users.Update(ctx, address, func(u *directory.User) error {
		u.Shared = *req.Shared
		return nil
	})
	if err != nil {
		return api.User{}, userError(address, err)
	}
	what := ": the account is a person's"
	if u.Shared {
		what = ": the account is shared"
	}
	b.note(ctx, coord.HistoryEntry{At: begun, By: req.By, Kind: "user", Store: u.Store, Reason: u.Name + what, Took: time.Since(begun)})
	return userOf(u), nil
}

// DeleteUser implements api.Backend: the entry first, so that nothing new arrives. A
// second attempt does what the first did not get to.
func (b *backend) DeleteUser(ctx context.Context, address, by string) error {
	u, err := b.users.Lookup(ctx, address)
	if errors.Is(err, directory.ErrNoUser) {
		var gone directory.DeletedUser
		gone, err = b.users.FindDeleted(ctx, address)
		u = gone.User
	} else if err == nil {
		err = b.users.Delete(ctx, address, by, time.Now())
	}
	if err != nil {
		return userError(address, err)
	}
	return b.atMaster(ctx, u.Store, func(ctx context.Context, m cluster.Machine) error {
		return b.remote.DeleteAccount(ctx, m, u.Store, u.Account.String())
	})
}

// WhereUser implements api.Backend.
func (b *backend) WhereUser(ctx context.Context, address string) (api.User, error) {
	u, err := b.users.Lookup(ctx, address)
	if err != nil {
		return api.User{}, userError(address, err)
	}
	out := userOf(u)
	if r, ok := b.routes.Lookup(u.Store); ok {
		out.Master = r.Master
	}
	return out, nil
}

const (
	masterTime  = 10 * time.Second
	masterPause = 100 * time.Millisecond
)

// atMaster asks the master of s, whoever that is, until it answers or time is up.
func (b *backend) atMaster(ctx context.Context, s cluster.Store, ask func(context.Context, cluster.Machine) error) error {
	ctx, cancel := context.WithTimeout(ctx, masterTime)
	defer cancel()
	r, ok := b.routes.Lookup(s)
	if !ok {
		return notFound("there is no store %s", s)
	}
	for {
		err := route.ErrNoMaster
		if r.Master != "" {
			if err = ask(ctx, r.Master); err == nil {
				return nil
			}
			if refused := refusal(err); refused != nil {
				return refused
			}
		}
		now, waitErr := b.routes.Await(ctx, r, masterPause)
		if waitErr != nil {
			return &api.Error{Status: http.StatusServiceUnavailable, Message: fmt.Sprintf("the master of store %s did not do it: %v", s, err), Hint: "tandemail store show " + string(s)}
		}
		r = now
	}
}
