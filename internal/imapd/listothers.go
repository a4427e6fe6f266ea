package imapd

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// LIST asks those accounts for their mailboxes whose owners have granted something, if a
// pattern can match any name there. Who does not answer in time is left out.

const (
	maxOwners      = 200             // asked by one LIST
	maxAsked       = 8               // of them at a time
	maxOthersNames = 20_000          // of all of them
	askTime        = 3 * time.Second // for all of them
)

// visited is one owner's mailboxes as LIST finds them.
type visited struct {
	*place
	list []mail.MailboxInfo
	err  error
}

// addOthers adds the mailboxes of other users. Subscriptions in an account that does not
// answer are taken for mailboxes: nobody knows that there is none.
func (s *Session) addOthers(ctx context.Context, a *imapwire.List, all names) error {
	if s.cfg.Others == nil || a.Lsub || a.Select&imapwire.SelectSpecialUse != 0 {
		return nil
	}
	if !mayMatch(a, otherUsers+mail.Separator) && !mayMatch(a, sharedNames+mail.Separator) {
		return nil
	}
	places, err := s.owners(ctx, a)
	if err != nil {
		return err
	}
	for _, v := range s.ask(ctx, places) {
		if v.err == nil || errors.Is(v.err, mail.ErrNoAccount) {
			for _, info := range v.list {
				if e := all[info.Name]; e == nil || e.at == nil { // not one's own from before
					all.add(v.place, info)
				}
			}
			continue
		}
		s.log.Info("mailboxes of another user are left out", "owner", v.owner.String(), "err", v.err)
		for name, e := range all {
			if strings.HasPrefix(name, v.prefix) {
				e.NonExistent = false
			}
		}
	}
	return ctx.Err()
}

// owners are the accounts to be asked.
func (s *Session) owners(ctx context.Context, a *imapwire.List) ([]*place, error) {
	ids, err := s.cfg.Others.Owners(ctx)
	if err != nil {
		return nil, fmt.Errorf("list owners of mailboxes: %w", err)
	}
	var list []*place
	for _, id := range ids {
		name, shared, err := s.cfg.Others.Name(ctx, id)
		if errors.Is(err, mail.ErrNoAccount) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("name owner of mailboxes: %w", err)
		}
		prefix := prefixOf(name, shared)
		if strings.Contains(name, mail.Separator) || !mayMatch(a, prefix) {
			continue
		}
		if len(list) == maxOwners {
			s.log.Warn("mailboxes of some users are left out: too many have granted something")
			break
		}
		list = append(list, &place{owner: id, prefix: prefix})
	}
	return list, nil
}

// ask opens the accounts and reads their names, several at a time. It returns when all
// have answered, or could not.
func (s *Session) ask(ctx context.Context, places []*place) []visited {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var left atomic.Int64
	left.Store(maxOthersNames)
	out := make([]visited, len(places))
	turns := make(chan struct{}, maxAsked)
	var asking sync.WaitGroup
	for i, p := range places {
		turns <- struct{}{}
		asking.Go(func() {
			defer func() { <-turns }()
			out[i] = s.cfg.visit(ctx, p, &left)
		})
	}
	asking.Wait()
	return out
}

// visit reads the names of one account. A panic is this answer's alone.
func (c *Config) visit(ctx context.Context, p *place, left *atomic.Int64) (v visited) {
	defer func() {
		if r := recover(); r != nil {
			v.list, v.err = nil, fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	v.place = p
	if p.account, v.err = c.Others.Open(ctx, p.owner); v.err != nil {
		return v
	}
	view, err := p.account.View(ctx)
	if err != nil {
		v.err = err
		return v
	}
	defer view.Close()
	v.list, v.err = p.names(view, left)
	return v
}

// names are the mailboxes of another user's account, as many as left allows, with their
// names here. What they are for is for their owner alone.
func (p *place) names(v mail.View, left *atomic.Int64) (list []mail.MailboxInfo, err error) {
	for info, err := range v.Mailboxes() {
		if err != nil {
			return nil, err
		}
		if left.Add(-1) < 0 {
			return nil, fmt.Errorf("more than %d names: %w", maxOthersNames, mail.ErrLimit)
		}
		info.Name, info.Use, info.Subscribed = p.prefix+info.Name, "", false
		list = append(list, info)
	}
	return list, nil
}

// addPlace adds the mailboxes of the account at hand.
func (s *Session) addPlace(ctx context.Context, all names) error {
	v, err := s.current(ctx)
	if err != nil {
		return err
	}
	var left atomic.Int64
	left.Store(maxOthersNames)
	list, err := s.at.names(v, &left)
	for _, info := range list {
		all.add(s.at, info)
	}
	return err
}

// mayMatch reports whether a pattern can match a name that begins with prefix, or one
// above it.
func mayMatch(a *imapwire.List, prefix string) bool {
	return slices.ContainsFunc(a.Patterns, func(p string) bool {
		head := a.Reference + p
		if i := strings.IndexAny(head, "*%"); i >= 0 {
			head = head[:i]
			return strings.HasPrefix(head, prefix) || strings.HasPrefix(prefix, head)
		}
		return strings.HasPrefix(head, prefix) || strings.HasPrefix(prefix, head+mail.Separator)
	})
}
