package directory

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/coord"
)

// DeletedUser is one who can come back.
type DeletedUser struct {
	User User // as it was
	At   time.Time
	By   string
}

// Deleted asks the coordinator for the users that were deleted and can come back, the
// latest first. ErrNotReady if it does not answer.
func (d *Directory) Deleted(ctx context.Context) ([]DeletedUser, error) {
	kvs, _, err := d.cfg.Coord.List(ctx, coord.DeletedPrefix)
	if err != nil {
		return nil, fmt.Errorf("list deleted users: %w: %w", ErrNotReady, err)
	}
	list := []DeletedUser{}
	for _, kv := range kvs {
		rec, err := coord.Decode[coord.DeletedUser](kv)
		u := DeletedUser{At: rec.At, By: rec.By}
		if err == nil {
			err = json.Unmarshal(rec.User, &u.User)
		}
		if err != nil {
			d.cfg.Log.Error("deleted user is not readable", "err", err)
			continue
		}
		list = append(list, u)
	}
	slices.SortStableFunc(list, func(a, b DeletedUser) int { return b.At.Compare(a.At) })
	return list, nil
}

// FindDeleted finds the latest deleted user of that name, or the one with that account
// id. ErrNoUser.
func (d *Directory) FindDeleted(ctx context.Context, name string) (DeletedUser, error) {
	list, err := d.Deleted(ctx)
	if err != nil {
		return DeletedUser{}, err
	}
	addr, bad := d.cfg.Policy.Parse(name)
	for _, u := range list {
		if u.User.Account.String() == name || bad == nil && u.User.Name == addr.Full {
			return u, nil
		}
	}
	return DeletedUser{}, fmt.Errorf("deleted user %s: %w", name, ErrNoUser)
}

// Undelete makes a deleted user be one again, as they were. ErrExists if there is such
// a user or alias by now.
func (d *Directory) Undelete(ctx context.Context, u User) error {
	key, gone, value := coord.UserKey(u.Name), coord.DeletedKey(u.Account.String()), coord.Encode(u)
	ok, rev, err := d.write(ctx, key, value, coord.Txn{
		If:   []coord.Compare{{Key: key}, {Key: coord.AliasKey(u.Name)}},
		Then: []coord.Op{coord.Put(key, value), coord.Delete(gone)},
	})
	if err == nil && !ok {
		err = ErrExists
	}
	if err != nil {
		return fmt.Errorf("undelete user %s: %w", u.Name, err)
	}
	settle(ctx, d.users, rev)
	return nil
}

// Forget removes a deleted user, who does not come back.
func (d *Directory) Forget(ctx context.Context, u User) error {
	if err := d.forgetGrants(ctx, u.Account); err != nil {
		return err
	}
	_, _, err := d.write(ctx, coord.DeletedKey(u.Account.String()), nil, coord.Txn{
		Then: []coord.Op{coord.Delete(coord.DeletedKey(u.Account.String()))},
	})
	if err != nil {
		return fmt.Errorf("forget deleted user %s: %w", u.Name, err)
	}
	return nil
}
