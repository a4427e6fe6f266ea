package directory

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/mail"
)

// Who was granted something by whom is a hint: it says which owners to ask for the
// mailboxes that a user may see. What is granted their accounts say. A hint too many
// costs a question; one too few hides mailboxes from LIST, and from nothing else.

// grants is the copy of the hints, fed by coord.Follow.
type grants struct {
	mu     sync.RWMutex
	owners map[mail.AccountID]map[mail.AccountID]bool // by who was granted something
}

// anyone is who was granted something in the key of a hint that is for everybody.
const anyone = "anyone"

// apply takes one step of the mirror. Keys that this release cannot read are passed over.
func (g *grants) apply(u coord.Update) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.owners == nil {
		g.owners = map[mail.AccountID]map[mail.AccountID]bool{}
	}
	if u.Listed != "" {
		for user := range g.owners {
			if strings.HasPrefix(grantKey(user, mail.AccountID{}), u.Listed) {
				delete(g.owners, user)
			}
		}
	}
	for _, kv := range u.All {
		g.set(kv.Key, true)
	}
	for _, c := range u.Changes {
		g.set(c.Key, !c.Deleted)
	}
}

func (g *grants) set(key string, on bool) {
	user, owner, ok := parseGrant(key)
	switch {
	case !ok:
	case !on:
		delete(g.owners[user], owner)
	case g.owners[user] == nil:
		g.owners[user] = map[mail.AccountID]bool{owner: true}
	default:
		g.owners[user][owner] = true
	}
}

func grantKey(user, owner mail.AccountID) string {
	who := anyone
	if !user.IsZero() {
		who = user.String()
	}
	return coord.GrantKey(who, owner.String())
}

func parseGrant(key string) (user, owner mail.AccountID, ok bool) {
	who, whose, ok := strings.Cut(strings.TrimPrefix(key, coord.GrantsPrefix), "/")
	if !ok || owner.UnmarshalText([]byte(whose)) != nil {
		return user, owner, false
	}
	return user, owner, who == anyone || user.UnmarshalText([]byte(who)) == nil
}

// SetGrant notes that an owner has, or has not, granted anything to a user, zero for
// anyone. It writes only what is new to the copy here.
func (d *Directory) SetGrant(ctx context.Context, owner, user mail.AccountID, on bool) error {
	d.grants.mu.RLock()
	there := d.grants.owners[user][owner]
	d.grants.mu.RUnlock()
	if there == on {
		return nil
	}
	key, op := grantKey(user, owner), coord.Delete(grantKey(user, owner))
	var value []byte
	if on {
		value = []byte("{}\n")
		op = coord.Put(key, value)
	}
	if _, _, err := d.write(ctx, key, value, coord.Txn{Then: []coord.Op{op}}); err != nil {
		return fmt.Errorf("note what %s has granted: %w: %w", owner, ErrNotReady, err)
	}
	d.grants.mu.Lock() // at once: the user's next LIST may come here
	defer d.grants.mu.Unlock()
	if d.grants.owners == nil {
		d.grants.owners = map[mail.AccountID]map[mail.AccountID]bool{}
	}
	d.grants.set(key, on)
	return nil
}

// Owners lists the users who may have granted something to a user, or to anyone, by name.
func (d *Directory) Owners(user mail.AccountID) []User {
	var ids []mail.AccountID
	d.grants.mu.RLock()
	for _, who := range []mail.AccountID{user, {}} {
		for owner := range d.grants.owners[who] {
			ids = append(ids, owner)
		}
	}
	d.grants.mu.RUnlock()
	slices.SortFunc(ids, func(a, b mail.AccountID) int { return bytes.Compare(a[:], b[:]) })
	var list []User
	for _, id := range slices.Compact(ids) {
		if u, ok := d.ByAccount(id); ok && id != user {
			list = append(list, u)
		}
	}
	slices.SortFunc(list, func(a, b User) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// ByAccount finds the user who has an account; false if the copy knows none.
func (d *Directory) ByAccount(id mail.AccountID) (User, bool) {
	d.namesMu.RLock()
	name, ok := d.accounts[id]
	d.namesMu.RUnlock()
	if !ok {
		return User{}, false
	}
	d.users.mu.RLock()
	defer d.users.mu.RUnlock()
	u, _ := d.users.get(name)
	if u == nil || u.Account != id {
		return User{}, false
	}
	return *u, true
}

// nameAccount keeps the index by account. Called under the lock of the users.
func (d *Directory) nameAccount(old, fresh *User) {
	d.namesMu.Lock()
	defer d.namesMu.Unlock()
	if old != nil && d.accounts[old.Account] == old.Name {
		delete(d.accounts, old.Account)
	}
	if fresh != nil {
		d.accounts[fresh.Account] = fresh.Name
	}
}

// forgetGrants removes the hints about a user whose account is gone for good, or as good
// as gone; those that are left over hurt nobody.
func (d *Directory) forgetGrants(ctx context.Context, id mail.AccountID) error {
	var ops []coord.Op
	d.grants.mu.RLock()
	for user, owners := range d.grants.owners {
		for owner := range owners {
			if user == id || owner == id {
				ops = append(ops, coord.Delete(grantKey(user, owner)))
			}
		}
	}
	d.grants.mu.RUnlock()
	for part := range slices.Chunk(ops, coord.MaxOps) {
		if _, _, err := d.cfg.Coord.Txn(ctx, coord.Txn{Then: part}); err != nil {
			return fmt.Errorf("remove grants of %s: %w: %w", id, ErrNotReady, err)
		}
	}
	return nil
}
