package app

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/deliver"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/tail"
)

// redeliverTime bounds one delivery of a message of a tail.
const redeliverTime = 20 * time.Second

// redeliver delivers a message of a tail to whoever is master of the store.
func (m *machine) redeliver(ctx context.Context, s cluster.Store, d slot.Delivery) (tail.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, redeliverTime)
	defer cancel()
	c := deliver.Client{Routes: m.routes, Call: m.callDeliver, Large: m.callLarge, Here: m.name, Local: m.handler}
	out, err := c.Deliver(ctx, deliver.Request{
		Store: s, Transaction: d.Transaction, QueueID: slot.Redelivered, Recipients: d.Recipients, Octets: d.Octets,
	})
	if err != nil {
		return tail.Result{}, err
	}
	return tail.Result{Code: out[0].Code, Duplicate: out[0].Duplicate}, nil
}

var errDirectoryStale = errors.New("the directory is not being fed")

// owner looks up whose an account is. That nobody has it is believed of a directory
// that is fed only.
func (m *machine) owner(ctx context.Context, account mail.AccountID) (tail.Owner, error) {
	if err := m.users.Wait(ctx); err != nil {
		return tail.Owner{}, err
	}
	if !m.users.Stats().Live {
		return tail.Owner{}, errDirectoryStale
	}
	for u := range m.users.List() {
		if u.Account == account {
			return tail.Owner{User: u.Name, Store: u.Store, Quota: u.Quota}, nil
		}
	}
	return tail.Owner{}, nil
}

// Tails implements api.Backend.
func (b *backend) Tails(ctx context.Context, s cluster.Store) ([]api.Tail, error) {
	kvs, _, err := b.coord.List(ctx, coord.MachinesPrefix)
	if err != nil {
		return nil, unavailable(err)
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	list := []api.Tail{}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, kv := range kvs {
		rec, err := coord.Decode[coord.MachineRecord](kv)
		if err != nil || !rec.Storage {
			continue
		}
		wg.Go(func() {
			reports, err := b.remote.Tails(ctx, rec.Machine)
			if err != nil {
				b.log.Debug("no answer about tails", "machine", rec.Machine, "err", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, r := range reports {
				if s == "" || r.Store == s {
					list = append(list, tailOf(rec.Machine, r))
				}
			}
		})
	}
	wg.Wait()
	slices.SortFunc(list, func(x, y api.Tail) int {
		return cmp.Or(cmp.Compare(x.Store, y.Store), cmp.Compare(x.Machine, y.Machine), cmp.Compare(x.Slot, y.Slot), cmp.Compare(x.Name, y.Name))
	})
	return list, nil
}

func tailOf(m cluster.Machine, r *tail.Report) api.Tail {
	t := api.Tail{
		Store: r.Store, Machine: m, Slot: r.Slot.String(), Name: r.Name, State: r.State, From: r.From, To: r.To, Epoch: r.Epoch,
		Found: r.Found, Delivered: r.Delivered, Had: r.Had, Gone: r.Gone, Left: r.Left, Listed: r.Listed,
		Users: []api.TailUser{}, Damage: r.Damage, Error: r.Error, Log: r.Log, At: r.At,
	}
	for _, u := range r.Users {
		t.Users = append(t.Users, api.TailUser{
			Account: u.Account.String(), User: u.User, Store: u.Store, Found: u.Found, Delivered: u.Delivered, Had: u.Had,
			Gone: u.Gone, Left: u.Left, Listed: u.Listed, Changes: u.Changes, Failed: u.Failed,
		})
	}
	return t
}
