package imapd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// resolve finds out whom to follow. errTooManyFollowed, errNotFollowable: somebody whom it
// follows has another name, or none. After other errors it goes on as before.
func (f *follower) resolve(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	f.mu.Lock()
	f.stale = false // what changes from here on says so again
	f.mu.Unlock()
	v, err := f.cfg.Account.View(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	at, err := subscriptions(v)
	if err != nil {
		return err
	}
	r := resolving{f, at, map[mail.AccountID]string{}}
	for i := range f.notify.Groups {
		if g := &f.notify.Groups[i]; tellsOfNames(g) {
			if err := r.group(ctx, g); err != nil {
				return err
			}
		}
	}
	if len(r.prefixes) > session.MaxFollowed {
		return errTooManyFollowed
	}
	if len(r.prefixes) > 0 {
		if at.kept, err = keptNames(v); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.homes, f.resolveAt = at, time.Now().Add(resolvePause)
	return f.change(r.prefixes)
}

// subscriptions reads whose account it is, and what of others' mailboxes is subscribed.
func subscriptions(v mail.View) (homes, error) {
	at := homes{subscribed: map[string]bool{}}
	account, err := v.Account()
	if err != nil {
		return at, err
	}
	at.me = account.ID
	for name, err := range v.Subscriptions() {
		if err != nil {
			return at, err
		}
		if forOthers(name) {
			at.subscribed[name] = true
		}
	}
	return at, nil
}

// keptNames are those of one's own mailboxes that are for others by now.
func keptNames(v mail.View) (map[string]bool, error) {
	kept := map[string]bool{}
	for info, err := range v.Mailboxes() {
		if err != nil {
			return nil, err
		}
		if forOthers(info.Name) && !info.NonExistent {
			kept[info.Name] = true
		}
	}
	return kept, nil
}

// forOthers reports whether a name is one of those for other users' mailboxes.
func forOthers(name string) bool {
	top, _, _ := strings.Cut(name, mail.Separator)
	return top == otherUsers || top == sharedNames
}

// resolving finds the accounts that a registration is about, and what their names begin
// with.
type resolving struct {
	*follower
	at       homes
	prefixes map[mail.AccountID]string
}

func (r *resolving) group(ctx context.Context, g *imapwire.EventGroup) error {
	names := g.Names
	if g.Filter == imapwire.FilterSubscribed {
		for name := range r.at.subscribed {
			names = append(names[:len(names):len(names)], name)
		}
	}
	for _, name := range names {
		top, rest, _ := strings.Cut(name, mail.Separator)
		user, local, _ := strings.Cut(rest, mail.Separator)
		var err error
		switch {
		case name != "" && !forOthers(name):
		case user == "" && g.Filter == imapwire.FilterSubtree:
			err = r.owners(ctx, top)
		case user != "" && (local != "" || g.Filter == imapwire.FilterSubtree):
			err = r.user(ctx, top, user)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// user adds the account of a named user, if there is one.
func (r *resolving) user(ctx context.Context, top, name string) error {
	id, err := r.cfg.Others.User(ctx, name)
	if errors.Is(err, mail.ErrNoAccount) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find user: %v", err)
	}
	return r.add(ctx, id, top)
}

// owners adds those who have granted something, with names below top; "" is all of them.
func (r *resolving) owners(ctx context.Context, top string) error {
	ids, err := r.cfg.Others.Owners(ctx)
	if err != nil {
		return fmt.Errorf("list owners of mailboxes: %v", err)
	}
	for _, id := range ids {
		if err := r.add(ctx, id, top); err != nil {
			return err
		}
		if len(r.prefixes) > session.MaxFollowed {
			return errTooManyFollowed
		}
	}
	return nil
}

func (r *resolving) add(ctx context.Context, id mail.AccountID, top string) error {
	name, shared, err := r.cfg.Others.Name(ctx, id)
	if errors.Is(err, mail.ErrNoAccount) || id == r.at.me {
		return nil
	}
	if err != nil {
		return fmt.Errorf("name owner of mailboxes: %v", err)
	}
	if prefix := prefixOf(name, shared); !strings.Contains(name, mail.Separator) && (top == "" || strings.HasPrefix(prefix, top+mail.Separator)) {
		r.prefixes[id] = prefix
	}
	return nil
}

// change follows these accounts from now on. One that is left is looked at once more: a
// right may have gone that the client has to be told of. Called with the lock.
func (f *follower) change(prefixes map[mail.AccountID]string) error {
	for id, w := range f.of {
		switch prefix, ok := prefixes[id]; {
		case ok && w.prefix == "":
			w.prefix = prefix // of a token
		case ok && w.prefix != prefix:
			return fmt.Errorf("account %s has another name: %w", id, errNotFollowable)
		case !ok && !w.leaving:
			w.leaving, w.due = true, true
		}
		if w.leaving && prefixes[id] != "" {
			w.leaving, w.due = false, true
		}
	}
	for id, prefix := range prefixes {
		if f.of[id] == nil {
			f.of[id] = &followee{place: &place{owner: id, prefix: prefix}, due: true}
		}
	}
	for _, name := range f.names {
		for _, w := range f.of {
			if w.prefix != "" && strings.HasPrefix(name, w.prefix) {
				w.asked, w.due = append(w.asked, name), true
			}
		}
	}
	f.names = nil
	return nil
}
