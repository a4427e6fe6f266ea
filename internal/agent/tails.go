package agent

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/tail"
)

const (
	// tailLook is how often the disks are looked at for tails.
	tailLook = 10 * time.Second
	// One that could not be dealt with is tried again, later each time.
	tailAgain    = time.Minute
	tailAgainMax = time.Hour
)

// tailKey tells tails apart: by their slot and name.
type tailKey struct {
	slot cluster.SlotID
	name string
}

// kept is a tail as of the last look at it.
type kept struct {
	report *tail.Report
	forks  int // of the store then
	next   time.Time
	pause  time.Duration
}

// keepTails deals with what forced failovers left on this machine's disks, one after
// another, until ctx ends.
func (a *Agent) keepTails(ctx context.Context) {
	if a.cfg.Redeliver == nil {
		return
	}
	for {
		if err := a.lookForTails(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("tails cannot be looked for", "err", err)
		}
		select {
		case <-time.After(tailLook):
		case <-ctx.Done():
			return
		}
	}
}

func (a *Agent) lookForTails(ctx context.Context) error {
	dir := a.cfg.FS.PathJoin(a.cfg.Meta, "slots")
	names, err := a.cfg.FS.List(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.Contains(name, ".unfinished") {
			continue
		}
		claim, err := slot.ReadClaim(a.cfg.FS, a.cfg.FS.PathJoin(dir, name))
		if err != nil {
			continue // lookAround has told
		}
		if err := a.lookInto(ctx, claim.Store, claim.Slot, name); err != nil {
			if ctx.Err() != nil {
				return err
			}
			a.log.Error("a slot's tails cannot be dealt with", "store", claim.Store, "slot", claim.Slot.String(), "err", err)
		}
	}
	return nil
}

// lookInto deals with the tails of one slot. A running one may have cuts beside its
// journal; the journal itself is a tail only of one that is closed for good.
func (a *Agent) lookInto(ctx context.Context, store cluster.Store, id cluster.SlotID, name string) error {
	a.mu.Lock()
	rec := a.records[store]
	_, closing := a.closing[id]
	open := a.slots[id] != nil || closing || rec.Has(id)
	a.mu.Unlock()
	if n := len(rec.Forks); n == 0 || rec.Forks[n-1].LSN == 0 {
		return nil // nothing was left, or it is not known yet where
	}
	meta, spool := a.cfg.FS.PathJoin(a.cfg.Meta, "slots", name), a.cfg.FS.PathJoin(a.cfg.Spool, "slots", name)
	sources, err := tail.Sources(a.cfg.FS, store, id, meta, spool, !open)
	if err != nil {
		return err
	}
	for _, src := range sources {
		if src.Cut != nil {
			if from, left := cluster.Left(rec.Forks, src.Cut.Epoch); !left || from >= src.Cut.To {
				continue
			}
		}
		if err := a.bringBack(ctx, src, rec.Forks); err != nil {
			return err
		}
	}
	return nil
}

// bringBack deals with one tail if that is due.
func (a *Agent) bringBack(ctx context.Context, src tail.Source, forks []cluster.Fork) error {
	key := tailKey{src.Slot, src.Name()}
	a.mu.Lock()
	k, known := a.tails[key]
	a.mu.Unlock()
	if !known {
		r, err := src.Read(a.cfg.FS)
		if err != nil {
			a.log.Warn("report of a tail cannot be read; it is made anew", "err", err)
		}
		k = kept{report: r, forks: len(forks)}
		if r != nil {
			k.forks = r.Forks
		}
	}
	switch {
	case k.report == nil:
	case k.report.State == tail.StateOpen && a.cfg.Now().Before(k.next):
		return nil
	case k.report.State == tail.StateDone, k.report.State == tail.StateNone && k.forks == len(forks):
		a.keepTail(key, k)
		return nil
	}
	r, err := a.runTail(ctx, src, forks)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r == nil {
		r = &tail.Report{Store: src.Store, Slot: src.Slot, Name: src.Name(), State: tail.StateOpen, Error: err.Error(), Forks: len(forks)}
	}
	k.report, k.forks = r, len(forks)
	k.pause = min(max(2*k.pause, tailAgain), tailAgainMax)
	k.next = a.cfg.Now().Add(k.pause)
	a.keepTail(key, k)
	log := a.log.With("store", src.Store, "slot", src.Slot.String(), "tail", src.Name())
	counts := []any{"found", r.Found, "delivered", r.Delivered, "had", r.Had, "gone", r.Gone, "left", r.Left, "listed", r.Listed, "report", r.Log}
	switch {
	case r.State == tail.StateNone:
	case r.State == tail.StateDone:
		log.Info("a tail was brought back", counts...)
	default:
		log.Error("a tail is not brought back yet; it is tried again", append(counts, "err", cmp.Or(r.Error, "some messages are left"))...)
	}
	return nil
}

// runTail is where a panic is recovered: what a tail holds stops nothing but itself.
func (a *Agent) runTail(ctx context.Context, src tail.Source, forks []cluster.Fork) (r *tail.Report, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	w := tail.Worker{FS: a.cfg.FS, Cluster: tailCluster{a}, Now: a.cfg.Now, Log: a.log}
	return w.Run(ctx, src, forks)
}

func (a *Agent) keepTail(key tailKey, k kept) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tails[key] = k
}

// Tails are the reports of what forced failovers left here, by store and slot. They are
// not to be changed.
func (a *Agent) Tails() []*tail.Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := []*tail.Report{}
	for _, k := range a.tails {
		if k.report.State != tail.StateNone {
			list = append(list, k.report)
		}
	}
	slices.SortFunc(list, func(x, y *tail.Report) int {
		return cmp.Or(cmp.Compare(x.Store, y.Store), bytes.Compare(x.Slot[:], y.Slot[:]), cmp.Compare(x.Name, y.Name))
	})
	return list
}

// tailCluster implements tail.Cluster.
type tailCluster struct{ *Agent }

var errNoMaster = fmt.Errorf("the store has no master: %w", cluster.ErrNotMaster)

func (c tailCluster) master(s cluster.Store) (cluster.Machine, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rec := c.records[s]
	if m := rec.MachineOf(rec.Master); m != "" {
		return m, nil
	}
	return "", errNoMaster
}

// Had implements tail.Cluster.
func (c tailCluster) Had(ctx context.Context, s cluster.Store, from cluster.LSN, asks []slot.Ask) ([]bool, error) {
	m, err := c.master(s)
	if err != nil {
		return nil, err
	}
	return c.cfg.Remote.Had(ctx, m, s, from, asks)
}

// Redeliver implements tail.Cluster.
func (c tailCluster) Redeliver(ctx context.Context, s cluster.Store, d slot.Delivery) (tail.Result, error) {
	return c.cfg.Redeliver(ctx, s, d)
}

// CreateAccount implements tail.Cluster.
func (c tailCluster) CreateAccount(ctx context.Context, account mail.AccountID, o tail.Owner) error {
	m, err := c.master(o.Store)
	if err != nil {
		return err
	}
	return c.cfg.Remote.CreateAccount(ctx, m, o.Store, account.String(), o.Quota)
}

// Owner implements tail.Cluster.
func (c tailCluster) Owner(ctx context.Context, account mail.AccountID) (tail.Owner, error) {
	return c.cfg.Owner(ctx, account)
}
