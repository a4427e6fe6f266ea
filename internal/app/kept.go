package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
)

// refusal is what the caller is told when an account's state refuses what was asked;
// nil for any other error.
func refusal(err error) error {
	switch {
	case errors.Is(err, mail.ErrNoAccount):
		return notFound("the account is gone: what it had was purged")
	case errors.Is(err, mail.ErrNoMailbox):
		return notFound("there is no such mailbox")
	case errors.Is(err, mail.ErrExists):
		return conflict("ask again", "a mailbox of that name was made meanwhile")
	case errors.Is(err, mail.ErrOverQuota):
		return conflict("--force brings it back all the same", "that is more than the user's quota allows")
	case errors.Is(err, mail.ErrFrozen):
		return conflict("tandemail user thaw", "the account is frozen")
	case errors.Is(err, mail.ErrLimit):
		return conflict("", "a limit of mailboxes, keywords or names is reached")
	}
	return nil
}

// frozen asks every store's master which accounts refuse changes. Of a store whose
// master does not answer none is known.
func (b *backend) frozen(ctx context.Context) map[mail.AccountID]bool {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	found := map[mail.AccountID]bool{}
	for _, r := range b.routes.Stores() {
		if r.Master == "" {
			continue
		}
		wg.Go(func() {
			list, err := b.remote.Frozen(ctx, r.Master, r.Store)
			if err != nil {
				b.log.Debug("frozen accounts are not known", "store", r.Store, "err", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, id := range list {
				found[id] = true
			}
		})
	}
	wg.Wait()
	return found
}

// Retention implements api.Backend.
func (b *backend) Retention(ctx context.Context) (api.Retention, error) {
	var s coord.Settings
	v, rev, err := b.coord.Get(ctx, coord.SettingsKey)
	if err != nil {
		return api.Retention{}, unavailable(err)
	}
	if rev != 0 {
		if s, err = coord.Decode[coord.Settings](coord.KV{Key: coord.SettingsKey, Value: v}); err != nil {
			return api.Retention{}, err
		}
	}
	return api.Retention{Hours: s.Keep().Hours(), Default: s.Retention == 0}, nil
}

// SetRetention implements api.Backend.
func (b *backend) SetRetention(ctx context.Context, req api.Retention) (api.Retention, error) {
	begun := time.Now()
	d := time.Duration(req.Hours * float64(time.Hour)).Round(time.Second)
	if req.Default {
		d = 0
	}
	if !req.Default && (d < coord.MinRetention || d > coord.MaxRetention) {
		return api.Retention{}, &api.Error{
			Status:  http.StatusBadRequest,
			Message: fmt.Sprintf("what was deleted is kept from %v to %v", coord.MinRetention, coord.MaxRetention),
			Hint:    "tandemail user purge removes what must go at once",
		}
	}
	if err := b.changeSettings(ctx, func(s *coord.Settings) { s.Retention = d }); err != nil {
		return api.Retention{}, err
	}
	now := coord.Settings{Retention: d}.Keep()
	b.note(ctx, coord.HistoryEntry{At: begun, By: req.By, Kind: "retention", Reason: "what was deleted is kept " + now.String(), Took: time.Since(begun)})
	return api.Retention{Hours: now.Hours(), Default: req.Default}, nil
}

// DeletedUsers implements api.Backend.
func (b *backend) DeletedUsers(ctx context.Context) ([]api.DeletedUser, error) {
	keep, err := b.Retention(ctx)
	if err != nil {
		return nil, err
	}
	list, err := b.users.Deleted(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	out := []api.DeletedUser{}
	for _, u := range list {
		until := u.At.Add(time.Duration(keep.Hours * float64(time.Hour)))
		out = append(out, api.DeletedUser{Address: u.User.Name, Account: u.User.Account.String(), Store: u.User.Store, At: u.At, By: u.By, Until: until})
	}
	return out, nil
}

// anyUser finds a user, or a deleted one that can come back.
func (b *backend) anyUser(ctx context.Context, address string) (u directory.User, deleted bool, err error) {
	u, err = b.users.Lookup(ctx, address)
	if !errors.Is(err, directory.ErrNoUser) && !errors.Is(err, directory.ErrBadAddress) {
		return u, false, userError(address, err)
	}
	gone, missing := b.users.FindDeleted(ctx, address)
	if missing != nil {
		if errors.Is(missing, directory.ErrNoUser) {
			missing = err
		}
		return u, false, userError(address, missing)
	}
	return gone.User, true, nil
}

// Bounds of a history's answer.
const (
	usualDeeds = 100
	mostDeeds  = 5000
)

// History implements api.Backend.
func (b *backend) History(ctx context.Context, address string, req api.HistoryRequest) (api.UserHistory, error) {
	u, _, err := b.anyUser(ctx, address)
	if err != nil {
		return api.UserHistory{}, err
	}
	if req.UID != 0 && req.Mailbox == "" {
		return api.UserHistory{}, &api.Error{Status: http.StatusBadRequest, Message: "a UID means something in a mailbox only: name it"}
	}
	q := slot.HistoryQuery{Mailbox: req.Mailbox, UID: req.UID, MessageID: req.MessageID, Limit: usualDeeds}
	if req.Limit > 0 {
		q.Limit = min(req.Limit, mostDeeds)
	}
	if !req.Since.IsZero() {
		q.Since = mail.InstantOf(req.Since)
	}
	var h slot.History
	err = b.atMaster(ctx, u.Store, func(ctx context.Context, m cluster.Machine) (err error) {
		h, err = b.remote.History(ctx, m, u.Store, u.Account.String(), q)
		return err
	})
	if h.Places == nil {
		h.Places = []slot.Place{}
	}
	for i := range h.Deeds {
		var id mail.AccountID
		if g := &h.Deeds[i].Grantee; id.UnmarshalText([]byte(*g)) == nil {
			if u, ok := b.users.ByAccount(id); ok {
				*g = u.Name
			}
		}
	}
	return api.UserHistory{Address: u.Name, Account: u.Account.String(), Deeds: h.Deeds, Places: h.Places, More: h.More}, err
}

// Purge implements api.Backend.
func (b *backend) Purge(ctx context.Context, address string, req api.PurgeRequest) (api.PurgeReport, error) {
	begun := time.Now()
	u, deleted, err := b.anyUser(ctx, address)
	if err != nil {
		return api.PurgeReport{}, err
	}
	r := api.PurgeReport{Address: u.Name, Account: u.Account.String(), Gone: deleted && req.Mailbox == ""}
	for more := true; more; {
		err := b.atMaster(ctx, u.Store, func(ctx context.Context, m cluster.Machine) (err error) {
			more, err = b.remote.Purge(ctx, m, u.Store, u.Account.String(), req.Mailbox, req.By)
			if r.Gone && errors.Is(err, mail.ErrNoAccount) {
				more, err = false, nil // it was gone before
			}
			return err
		})
		if err != nil {
			return r, err
		}
	}
	if r.Gone {
		if err := b.users.Forget(ctx, u); err != nil {
			return r, unavailable(err)
		}
	}
	what := u.Name
	if req.Mailbox != "" {
		what += ": " + req.Mailbox
	}
	b.note(ctx, coord.HistoryEntry{At: begun, By: req.By, Kind: "purge", Store: u.Store, Reason: what, Took: time.Since(begun)})
	return r, nil
}
