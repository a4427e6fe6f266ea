// Package directory says who is who: user to account and store, aliases,
// sub-addresses and catch-alls, credentials, quotas.
//
// The truth is in the coordinator. Every process that needs the directory keeps
// a full copy, fed by a watch, so that a log-in or a recipient costs no round
// trip and works while the coordinator is down. A copy costs about 400 octets a
// user; it is meant for up to a million.
//
// It does not verify passwords (auth) and does not know which machine serves a
// store (the stores' records do).
//
// Invariants. A name is a user or an alias, not both. "No such user" is said only
// while the copy is being fed: a stale copy answers ErrNotReady, which is
// temporary, so that an outage never bounces mail. An entry this release cannot
// read is there, and temporary too.
//
// Concurrency: a Directory is safe for concurrent use. Look-ups take a read lock
// and no I/O.
package directory

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/mail"
)

// Config has good zero values except for Coord.
type Config struct {
	Coord  coord.Coord
	Policy Policy
	Rand   io.Reader // for account ids; nil means crypto/rand
	// Doubt reports that something else here contradicts the coordinator, so that
	// entries may be missing; nil: nothing does. It must not block.
	Doubt func() bool
	Log   *slog.Logger
}

// Directory is the copy, and the way to change the truth.
type Directory struct {
	cfg     Config
	users   *table[User]
	aliases *table[Alias]
	grants  grants

	namesMu  sync.RWMutex
	accounts map[mail.AccountID]string // name by account

	storesMu sync.Mutex
	names    map[cluster.Store]cluster.Store // one string a store, not one a user
	counts   map[cluster.Store]int
}

// New starts nothing; without Run the directory stays empty and not ready.
func New(cfg Config) *Directory {
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Directory{cfg: cfg, names: map[cluster.Store]cluster.Store{}, counts: map[cluster.Store]int{}}
	d.users = newTable(coord.UsersPrefix, d.parseUser)
	d.accounts = map[mail.AccountID]string{}
	d.users.changed = func(old, fresh *User) {
		d.countUser(old, fresh)
		d.nameAccount(old, fresh)
	}
	d.aliases = newTable(coord.AliasesPrefix, parseAlias)
	return d
}

// Run feeds the copy until ctx ends, whose error it returns.
func (d *Directory) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { feed(ctx, d, d.users) })
	wg.Go(func() { feed(ctx, d, d.aliases) })
	wg.Go(func() {
		_ = coord.Follow(ctx, d.cfg.Coord, coord.Following{Prefix: coord.GrantsPrefix, Lists: coord.GrantPrefixes()}, d.grants.apply)
	})
	wg.Wait()
	return ctx.Err()
}

func feed[T any](ctx context.Context, d *Directory, t *table[T]) {
	following := coord.Following{Prefix: t.prefix, Lists: coord.ShardPrefixes(t.prefix)}
	_ = coord.Follow(ctx, d.cfg.Coord, following, func(u coord.Update) {
		for _, err := range t.apply(u) {
			d.cfg.Log.Error("directory entry is not readable", "err", err)
		}
		if u.Err != nil {
			d.cfg.Log.Warn("directory is not being fed", "prefix", t.prefix, "err", u.Err)
		}
	})
}

func (d *Directory) parseUser(name string, kv coord.KV) (User, error) {
	var u User
	if err := json.Unmarshal(kv.Value, &u); err != nil {
		return u, err
	}
	if u.Name != name || u.Account.IsZero() || u.Store == "" {
		return u, fmt.Errorf("user %q under the key of %q, without account or without store", u.Name, name)
	}
	u.Store = d.intern(u.Store)
	if u.Display == u.Name {
		u.Display = u.Name // one string
	}
	return u, nil
}

func parseAlias(name string, kv coord.KV) (Alias, error) {
	var a Alias
	if err := json.Unmarshal(kv.Value, &a); err != nil {
		return a, err
	}
	if a.Address != name || len(a.Targets) == 0 {
		return a, fmt.Errorf("alias %q under the key of %q, or without targets", a.Address, name)
	}
	return a, nil
}

func (d *Directory) intern(s cluster.Store) cluster.Store {
	d.storesMu.Lock()
	defer d.storesMu.Unlock()
	if _, ok := d.names[s]; !ok {
		d.names[s] = s
	}
	return d.names[s]
}

func (d *Directory) countUser(old, fresh *User) {
	d.storesMu.Lock()
	defer d.storesMu.Unlock()
	if old != nil {
		d.counts[old.Store]--
	}
	if fresh != nil {
		d.counts[fresh.Store]++
	}
}

// Wait blocks until the whole directory has been read once. ErrNotReady if ctx
// ends before.
func (d *Directory) Wait(ctx context.Context) error {
	for _, loaded := range []<-chan struct{}{d.users.loaded, d.aliases.loaded} {
		select {
		case <-loaded:
			continue
		default:
		}
		select {
		case <-loaded:
		case <-ctx.Done():
			return fmt.Errorf("read the directory for the first time: %w: %w", ErrNotReady, ctx.Err())
		}
	}
	return nil
}

// Stats are for status pages.
type Stats struct {
	Users, Aliases int
	Live           bool // the copy is being fed
	Incomplete     bool // see ErrIncomplete
	PerStore       map[cluster.Store]int
}

func (d *Directory) doubted() bool { return d.cfg.Doubt != nil && d.cfg.Doubt() }

// Stats counts.
func (d *Directory) Stats() Stats {
	s := Stats{PerStore: map[cluster.Store]int{}}
	d.users.mu.RLock()
	s.Users, s.Live, s.Incomplete = d.users.count, d.users.live, d.users.incomplete()
	d.users.mu.RUnlock()
	d.aliases.mu.RLock()
	s.Aliases, s.Live, s.Incomplete = d.aliases.count, s.Live && d.aliases.live, s.Incomplete || d.aliases.incomplete()
	d.aliases.mu.RUnlock()
	d.storesMu.Lock()
	defer d.storesMu.Unlock()
	for store, n := range d.counts {
		if n > 0 {
			s.PerStore[store] = n
		}
	}
	return s
}

// List yields all users of the copy, shard by shard, in no particular order. A
// change during the iteration may or may not be seen.
func (d *Directory) List() iter.Seq[User] {
	return func(yield func(User) bool) {
		for i := range coord.Shards {
			for _, u := range d.shard(i) {
				if !yield(*u) {
					return
				}
			}
		}
	}
}

func (d *Directory) shard(i int) []*User {
	d.users.mu.RLock()
	defer d.users.mu.RUnlock()
	out := make([]*User, 0, len(d.users.shards[i]))
	for _, u := range d.users.shards[i] {
		if u != nil {
			out = append(out, u)
		}
	}
	return out
}
