package directory

import (
	"context"
	"fmt"
)

// Bounds of one resolution.
const (
	maxAliasDepth = 10
	maxRecipients = 1000
)

// errNobody: a directory without any user is that of a coordinator that was wiped,
// rather than of a site without mail.
var errNobody = fmt.Errorf("the directory has no user at all: %w", ErrNotReady)

// Recipient is a user that an address leads to.
type Recipient struct {
	User   User
	Detail string // the sub-address's, "" if none
}

// Lookup finds a user by name or address, in any spelling that is the same. It
// blocks only until the directory has been read once.
func (d *Directory) Lookup(ctx context.Context, name string) (User, error) {
	addr, err := d.cfg.Policy.Parse(name)
	if err != nil {
		return User{}, err
	}
	if err := d.Wait(ctx); err != nil {
		return User{}, err
	}
	d.users.mu.RLock()
	defer d.users.mu.RUnlock()
	u, there := d.users.get(addr.Full)
	switch {
	case u != nil:
		return *u, nil
	case there:
		return User{}, fmt.Errorf("user %s: entry not readable: %w", addr.Full, ErrNotReady)
	case !d.users.live:
		return User{}, fmt.Errorf("user %s: unknown to a copy that is not being fed: %w", addr.Full, ErrNotReady)
	case d.users.incomplete() || d.doubted():
		return User{}, fmt.Errorf("user %s: %w", addr.Full, ErrIncomplete)
	}
	return User{}, fmt.Errorf("user %s: %w", addr.Full, ErrNoUser)
}

// Resolve finds all users an address leads to, each once, in a stable order: the
// user or alias of that exact address, else without its detail, else the
// domain's catch-all. It blocks only until the directory has been read once.
func (d *Directory) Resolve(ctx context.Context, address string) ([]Recipient, error) {
	if err := d.Wait(ctx); err != nil {
		return nil, err
	}
	d.users.mu.RLock()
	defer d.users.mu.RUnlock()
	d.aliases.mu.RLock()
	defer d.aliases.mu.RUnlock()
	r := resolution{dir: d, seen: map[string]bool{}}
	if err := r.address(address, "", nil); err != nil {
		return nil, fmt.Errorf("resolve %.*q: %w", maxAddress, address, err)
	}
	return r.out, nil
}

// resolution holds both tables' read locks.
type resolution struct {
	dir  *Directory
	seen map[string]bool // users that are in out
	out  []Recipient
}

// address resolves one address that was reached through path, which is empty for
// the one asked for. detail is what the way here had, unless the address has one.
func (r *resolution) address(s, detail string, path []string) error {
	addr, err := r.dir.cfg.Policy.Parse(s)
	if err != nil {
		return err
	}
	if done, err := r.name(addr.Full, detail, path); done {
		return err
	}
	if addr.Base != "" {
		if done, err := r.name(addr.Base, addr.Detail, path); done {
			return err
		}
	}
	if addr.Domain != "" {
		if done, err := r.alias("@"+addr.Domain, "", path); done {
			return err
		}
	}
	switch {
	case r.dir.users.count == 0:
		return fmt.Errorf("%s: %w", addr.Full, errNobody)
	case !r.dir.users.live || !r.dir.aliases.live:
		return fmt.Errorf("%s is unknown to a copy that is not being fed: %w", addr.Full, ErrNotReady)
	case r.dir.users.incomplete() || r.dir.aliases.incomplete() || r.dir.doubted():
		return fmt.Errorf("%s: %w", addr.Full, ErrIncomplete)
	case len(path) > 0:
		return fmt.Errorf("%s, by way of %v, is nobody: %w", addr.Full, path, ErrAlias)
	}
	return ErrNoUser
}

// name resolves a key that is a user's or an alias's; done is false if neither.
func (r *resolution) name(key, detail string, path []string) (done bool, err error) {
	u, there := r.dir.users.get(key)
	switch {
	case u == nil && there:
		return true, fmt.Errorf("user %s: entry not readable: %w", key, ErrNotReady)
	case u == nil:
		return r.alias(key, detail, path)
	case r.seen[key]:
		return true, nil
	case len(r.out) == maxRecipients:
		return true, fmt.Errorf("more than %d recipients: %w", maxRecipients, ErrAlias)
	}
	r.seen[key] = true
	r.out = append(r.out, Recipient{User: *u, Detail: detail})
	return true, nil
}

func (r *resolution) alias(key, detail string, path []string) (done bool, err error) {
	a, there := r.dir.aliases.get(key)
	switch {
	case a == nil && there:
		return true, fmt.Errorf("alias %s: entry not readable: %w", key, ErrNotReady)
	case a == nil:
		return false, nil
	case len(path) == maxAliasDepth:
		return true, fmt.Errorf("alias %s is more than %d deep (%v): %w", key, maxAliasDepth, path, ErrAlias)
	}
	path = append(path[:len(path):len(path)], key)
	for _, target := range a.Targets {
		if err := r.address(target, detail, path); err != nil {
			return true, err
		}
	}
	return true, nil
}
