package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

const (
	maxAttempts = 5
	maxTargets  = 100
	// settleTime is how long a change waits to be seen in this process's copy.
	settleTime = 2 * time.Second
)

// Add creates a user. Name may be any spelling of the address; a zero Account is
// drawn, an empty Store is the one with the fewest users, an empty Display is the
// name as given. ErrExists if there is such a user or alias. When Add returns,
// this process's look-ups know the user.
func (d *Directory) Add(ctx context.Context, u User) (User, error) {
	addr, err := d.cfg.Policy.Parse(u.Name)
	if err != nil {
		return User{}, err
	}
	if u.Display == "" {
		u.Display = u.Name
	}
	u.Name = addr.Full
	if u.Account.IsZero() {
		if _, err := io.ReadFull(d.cfg.Rand, u.Account[:]); err != nil {
			return User{}, fmt.Errorf("draw an account id: %w", err)
		}
	}
	if u.Store == "" {
		if u.Store, err = d.EmptiestStore(ctx); err != nil {
			return User{}, fmt.Errorf("add user %s: %w", u.Name, err)
		}
	}
	value := coord.Encode(u)
	key := coord.UserKey(u.Name)
	ok, rev, err := d.write(ctx, key, value, coord.Txn{
		If:   []coord.Compare{{Key: key}, {Key: coord.AliasKey(u.Name)}},
		Then: []coord.Op{coord.Put(key, value)},
	})
	if err == nil && !ok {
		err = ErrExists
	}
	if err != nil {
		return User{}, fmt.Errorf("add user %s: %w", u.Name, err)
	}
	settle(ctx, d.users, rev)
	return u, nil
}

// Update changes a user by compare-and-swap: change sees the present entry and
// edits it, perhaps several times. It must not change the name or the account.
func (d *Directory) Update(ctx context.Context, name string, change func(*User) error) (User, error) {
	addr, err := d.cfg.Policy.Parse(name)
	if err != nil {
		return User{}, err
	}
	for range maxAttempts {
		u, rev, err := d.read(ctx, addr.Full)
		if err != nil {
			return User{}, err
		}
		before := u
		if err := change(&u); err != nil {
			return User{}, err
		}
		if u.Name != before.Name || u.Account != before.Account {
			return User{}, fmt.Errorf("update user %s: name and account are for ever", before.Name)
		}
		value, key := coord.Encode(u), coord.UserKey(u.Name)
		ok, now, err := d.write(ctx, key, value, coord.Txn{
			If:   []coord.Compare{{Key: key, Rev: rev}},
			Then: []coord.Op{coord.Put(key, value)},
		})
		if err != nil {
			return User{}, fmt.Errorf("update user %s: %w", u.Name, err)
		}
		if ok {
			settle(ctx, d.users, now)
			return u, nil
		}
	}
	return User{}, fmt.Errorf("update user %s: %w", addr.Full, ErrConflict)
}

// Delete removes a user from the directory, in whose place Deleted lists them; the
// account's mail is not touched. by says who asked for it.
func (d *Directory) Delete(ctx context.Context, name, by string, at time.Time) error {
	addr, err := d.cfg.Policy.Parse(name)
	if err != nil {
		return err
	}
	for range maxAttempts {
		u, rev, err := d.read(ctx, addr.Full)
		if err != nil {
			return err
		}
		key := coord.UserKey(addr.Full)
		gone := coord.DeletedUser{User: coord.Encode(u), At: at.UTC(), By: by}
		ok, now, err := d.write(ctx, key, nil, coord.Txn{
			If:   []coord.Compare{{Key: key, Rev: rev}},
			Then: []coord.Op{coord.Delete(key), coord.Put(coord.DeletedKey(u.Account.String()), coord.Encode(gone))},
		})
		if err != nil {
			return fmt.Errorf("delete user %s: %w", addr.Full, err)
		}
		if ok {
			settle(ctx, d.users, now)
			return nil
		}
	}
	return fmt.Errorf("delete user %s: %w", addr.Full, ErrConflict)
}

// SetAlias makes address, or with "@domain" the domain's unknown addresses, lead
// to the targets; none removes the alias. ErrExists if a user has the address.
func (d *Directory) SetAlias(ctx context.Context, address string, targets ...string) error {
	name, err := d.aliasName(address)
	if err != nil {
		return err
	}
	if len(targets) > maxTargets {
		return fmt.Errorf("alias %s: %d targets, at most %d", name, len(targets), maxTargets)
	}
	a := Alias{Address: name}
	for _, t := range targets {
		addr, err := d.cfg.Policy.Parse(t)
		if err != nil {
			return fmt.Errorf("alias %s: %w", name, err)
		}
		if addr.Full == name {
			return fmt.Errorf("alias %s leads to itself: %w", name, ErrAlias)
		}
		a.Targets = append(a.Targets, t)
	}
	key := coord.AliasKey(name)
	txn := coord.Txn{If: []coord.Compare{{Key: coord.UserKey(name)}}, Then: []coord.Op{coord.Delete(key)}}
	var value []byte
	if len(targets) > 0 {
		value = coord.Encode(a)
		txn.Then[0] = coord.Put(key, value)
	} else if _, rev, err := d.cfg.Coord.Get(ctx, key); err != nil || rev == 0 {
		return err // nothing to remove
	}
	ok, rev, err := d.write(ctx, key, value, txn)
	if err == nil && !ok {
		err = ErrExists
	}
	if err != nil {
		return fmt.Errorf("alias %s: %w", name, err)
	}
	settle(ctx, d.aliases, rev)
	return nil
}

func (d *Directory) aliasName(address string) (string, error) {
	if domain, ok := strings.CutPrefix(address, "@"); ok {
		ascii, err := canonicalDomain(domain)
		if err != nil {
			return "", fmt.Errorf("%w: %q: %w", ErrBadAddress, address, err)
		}
		return "@" + ascii, nil
	}
	addr, err := d.cfg.Policy.Parse(address)
	return addr.Full, err
}

// read is linearizable.
func (d *Directory) read(ctx context.Context, name string) (User, cluster.Rev, error) {
	value, rev, err := d.cfg.Coord.Get(ctx, coord.UserKey(name))
	if err != nil {
		return User{}, 0, fmt.Errorf("read user %s: %w: %w", name, ErrNotReady, err)
	}
	if rev == 0 {
		return User{}, 0, fmt.Errorf("user %s: %w", name, ErrNoUser)
	}
	u, err := d.parseUser(name, coord.KV{Key: coord.UserKey(name), Value: value, Rev: rev})
	return u, rev, err
}

// write commits t, which sets key to value (nil: deletes it), and finds out what
// happened when the answer was lost. If the key is what was to be written, that
// is success, whoever wrote it.
func (d *Directory) write(ctx context.Context, key string, value []byte, t coord.Txn) (ok bool, rev cluster.Rev, err error) {
	ok, rev, err = d.cfg.Coord.Txn(ctx, t)
	if !errors.Is(err, coord.ErrUnknown) {
		return ok, rev, err
	}
	unknown := err
	now, rev, err := d.cfg.Coord.Get(ctx, key)
	switch {
	case err != nil:
		return false, 0, errors.Join(unknown, err)
	case value == nil && rev == 0, value != nil && rev != 0 && bytes.Equal(now, value):
		return true, rev, nil
	}
	return false, 0, unknown // it may yet happen
}

// EmptiestStore picks the store with the fewest users, the first by name of several:
// where Add puts a user that names none.
func (d *Directory) EmptiestStore(ctx context.Context) (cluster.Store, error) {
	kvs, _, err := d.cfg.Coord.List(ctx, coord.StoresPrefix)
	if err != nil {
		return "", err
	}
	if err := d.Wait(ctx); err != nil {
		return "", err
	}
	var stores []cluster.Store
	for _, kv := range kvs {
		stores = append(stores, cluster.Store(coord.NameOf(kv.Key)))
	}
	if len(stores) == 0 {
		return "", errors.New("the cluster has no store yet")
	}
	d.storesMu.Lock()
	defer d.storesMu.Unlock()
	return slices.MinFunc(stores, func(a, b cluster.Store) int { return d.counts[a] - d.counts[b] }), nil
}

// settle waits until the copy here is as new as rev. A copy that is not being fed
// is no reason to fail what has happened.
func settle[T any](ctx context.Context, t *table[T], rev cluster.Rev) {
	late := time.NewTimer(settleTime)
	defer late.Stop()
	for {
		t.mu.RLock()
		there, moved := t.rev >= rev, t.moved
		t.mu.RUnlock()
		if there {
			return
		}
		select {
		case <-moved:
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
