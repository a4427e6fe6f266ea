package dev

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
)

const (
	readyTime = 60 * time.Second
	pollEvery = 50 * time.Millisecond
)

// ready waits until the cluster takes mail. A fresh one is given its stores,
// users and sample mail first.
func (r *runner) ready(ctx context.Context, fresh bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTime, fmt.Errorf("not ready after %v; the machines' logs are in %s/*/log", readyTime, r.layout.Dir))
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	go func() {
		select {
		case err := <-r.died:
			fail(err)
		case <-ctx.Done():
		}
	}()
	c, err := r.anyMachine(ctx)
	if err != nil {
		return err
	}
	if fresh {
		if err := retry(ctx, func() error {
			_, err := c.CreateStores(ctx, api.StoresRequest{Names: storeNames(cmp.Or(r.opt.Stores, storeCount)), Machines: machineCount})
			return err
		}); err != nil {
			return fmt.Errorf("create stores: %w", err)
		}
	}
	if err := retry(ctx, func() error { return healthy(ctx, c) }); err != nil {
		return fmt.Errorf("wait for the stores: %w", err)
	}
	if !fresh {
		return nil
	}
	for _, u := range r.layout.Users {
		if err := retry(ctx, func() error { return addUser(ctx, c, u) }); err != nil {
			return fmt.Errorf("add user %s: %w", u.User, err)
		}
	}
	if err := retry(ctx, func() error { return r.deliverSamples(ctx) }); err != nil {
		return fmt.Errorf("deliver sample mail: %w", err)
	}
	if err := os.WriteFile(filepath.Join(r.layout.Dir, foundedFile), nil, 0o600); err != nil {
		return fmt.Errorf("note that the cluster is founded: %w", err)
	}
	return nil
}

// storeNames are the same at each attempt, so that the next one goes on.
func storeNames(n int) []cluster.Store {
	names := make([]cluster.Store, n)
	for i := range names {
		names[i] = cluster.Store(fmt.Sprintf("s%02d", i+1))
	}
	return names
}

// anyMachine waits until every machine answers, and returns the first.
func (r *runner) anyMachine(ctx context.Context) (*api.Client, error) {
	for _, m := range r.machines() {
		if err := retry(ctx, func() error { return healthz(ctx, m) }); err != nil {
			return nil, fmt.Errorf("wait for %s: %w", m.Name, err)
		}
	}
	return &api.Client{Base: "http://" + r.machines()[0].HTTP, HTTP: http.DefaultClient}, nil
}

func healthz(ctx context.Context, m Machine) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.HTTP+"/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", m.Name, resp.Status)
	}
	return nil
}

// healthy reports what keeps the cluster from having every copy in sync.
func healthy(ctx context.Context, c *api.Client) error {
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if len(s.Stores) == 0 {
		return errors.New("no stores yet")
	}
	for _, st := range s.Stores {
		if st.Master == "" || len(st.InSync) < len(st.Slots) {
			return fmt.Errorf("store %s has master %q and %d of %d copies in sync", st.Name, st.Master, len(st.InSync), len(st.Slots))
		}
	}
	return nil
}

func addUser(ctx context.Context, c *api.Client, u User) error {
	_, err := c.AddUser(ctx, api.NewUser{Address: u.User, Password: u.Password})
	var e *api.Error
	if errors.As(err, &e) && e.Status == http.StatusConflict {
		return nil // an earlier attempt whose answer was lost
	}
	return err
}

// retry calls f until it succeeds or ctx ends, and then says why it had not.
func retry(ctx context.Context, f func() error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			cause := context.Cause(ctx)
			if errors.Is(err, cause) {
				return err
			}
			return fmt.Errorf("%w: %w", err, cause)
		}
	}
}
