package controller

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/plan"
)

// maxActions are under way at most; more wait for the next plan.
const maxActions = 128

// executor runs actions, one a store at a time.
type executor struct {
	c    *Controller
	term coord.Term

	wg   sync.WaitGroup
	mu   sync.Mutex
	busy map[cluster.Store]bool
}

func newExecutor(c *Controller, term coord.Term) *executor {
	return &executor{c: c, term: term, busy: map[cluster.Store]bool{}}
}

func (x *executor) wait() { x.wg.Wait() }

// begin starts an action, unless one for its store is under way.
func (x *executor) begin(ctx context.Context, a plan.Action) {
	record, _, ok := x.c.world.record(a.Machine)
	x.mu.Lock()
	defer x.mu.Unlock()
	if !ok || x.busy[a.Store] || len(x.busy) >= maxActions {
		return
	}
	x.busy[a.Store] = true
	started := x.c.cfg.Now()
	x.c.world.began(a, started)
	x.wg.Go(func() {
		err := x.do(ctx, record, a)
		x.mu.Lock()
		delete(x.busy, a.Store)
		x.mu.Unlock()
		signal(x.c.world.changed)
		x.record(ctx, a, started, err)
	})
}

func (w *world) began(a plan.Action, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remember(plan.Recent{At: at, Kind: a.Kind, Store: a.Store, Slot: a.Slot, Epoch: a.Epoch})
}

func (x *executor) do(ctx context.Context, m coord.MachineRecord, a plan.Action) error {
	limit := x.c.cfg.Timing.ActionTime
	call := x.c.cfg.Agents.Switchover
	switch a.Kind {
	case plan.Nominate:
		limit, call = x.c.cfg.Timing.NominateTime, x.c.cfg.Agents.Nominate
	case plan.Reseed:
		call = x.c.cfg.Agents.Reseed
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return call(ctx, m, a)
}

// record writes history; that it could not is no reason to do anything else.
func (x *executor) record(ctx context.Context, a plan.Action, started time.Time, failed error) {
	c := x.c
	e := coord.HistoryEntry{
		At: started, By: "controller " + string(c.cfg.Machine), Kind: string(a.Kind), Store: a.Store, Machine: a.Machine,
		To: a.Slot, Epoch: a.Epoch, Reason: a.Reason, Took: c.cfg.Now().Sub(started),
	}
	c.count(Acted{a.Kind, failed != nil})
	level := c.cfg.Log.Info
	if failed != nil {
		e.Error, level = failed.Error(), c.cfg.Log.Warn
	}
	level("controller acted", "kind", a.Kind, "store", a.Store, "machine", a.Machine, "slot", a.Slot, "epoch", a.Epoch, "reason", a.Reason, "err", failed)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), historyTime)
	defer cancel()
	if err := x.write(ctx, e); err != nil {
		c.cfg.Log.Warn("history entry was not written", "store", a.Store, "err", err)
	}
}

const historyTime = 5 * time.Second

func (x *executor) write(ctx context.Context, e coord.HistoryEntry) error {
	nonce := make([]byte, 4)
	if _, err := io.ReadFull(x.c.cfg.Rand, nonce); err != nil {
		return fmt.Errorf("draw a nonce: %w", err)
	}
	key := coord.HistoryKey(e.At, hex.EncodeToString(nonce))
	_, _, err := x.c.cfg.Coord.Txn(ctx, coord.Txn{If: []coord.Compare{x.term.Guard()}, Then: []coord.Op{coord.Put(key, coord.Encode(e))}})
	return err
}

const pruneEvery = time.Minute

// pruneHistory keeps the newest entries.
func (c *Controller) pruneHistory(ctx context.Context, term coord.Term) {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := errors.Join(c.pruneOnce(ctx, term), c.pruneDeleted(ctx, term)); err != nil {
			c.cfg.Log.Debug("history was not pruned", "err", err)
		}
	}
}

func (c *Controller) pruneOnce(ctx context.Context, term coord.Term) error {
	kvs, _, err := c.cfg.Coord.List(ctx, coord.HistoryPrefix)
	for err == nil && len(kvs) > coord.MaxHistory {
		old := kvs[:min(len(kvs)-coord.MaxHistory, coord.MaxOps)]
		kvs = kvs[len(old):]
		t := coord.Txn{If: []coord.Compare{term.Guard()}}
		for _, kv := range old {
			t.Then = append(t.Then, coord.Delete(kv.Key))
		}
		_, _, err = c.cfg.Coord.Txn(ctx, t)
	}
	return err
}

// pruneDeleted forgets users whose time to come back is over.
func (c *Controller) pruneDeleted(ctx context.Context, term coord.Term) error {
	kvs, _, err := c.cfg.Coord.List(ctx, coord.DeletedPrefix)
	if err != nil || len(kvs) == 0 {
		return err
	}
	b, rev, err := c.cfg.Coord.Get(ctx, coord.SettingsKey)
	if err != nil {
		return err
	}
	var s coord.Settings
	if rev != 0 {
		if s, err = coord.Decode[coord.Settings](coord.KV{Key: coord.SettingsKey, Value: b}); err != nil {
			return err
		}
	}
	for _, kv := range kvs {
		u, err := coord.Decode[coord.DeletedUser](kv)
		if err != nil || c.cfg.Now().Sub(u.At) < s.Keep() {
			continue // what cannot be read is kept
		}
		if _, _, err := c.cfg.Coord.Txn(ctx, coord.Txn{
			If:   []coord.Compare{term.Guard(), {Key: kv.Key, Rev: kv.Rev}},
			Then: []coord.Op{coord.Delete(kv.Key)},
		}); err != nil {
			return err
		}
	}
	return nil
}
