package tail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/salvage"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/state"
)

// Owner is whose an account is, and where.
type Owner struct {
	User  string // "": the directory knows none
	Store cluster.Store
	Quota int64
}

// Cluster is what a worker asks. Its calls wait for a master for a while.
type Cluster interface {
	// Had asks the master of store; see slot.Slot.Had.
	Had(ctx context.Context, store cluster.Store, from cluster.LSN, asks []slot.Ask) ([]bool, error)
	// Redeliver delivers to one recipient at store, and again with one effect. An error
	// may have any cause; the same delivery may be asked for again.
	Redeliver(ctx context.Context, store cluster.Store, d slot.Delivery) (Result, error)
	// CreateAccount makes an account unless it is there.
	CreateAccount(ctx context.Context, account mail.AccountID, o Owner) error
	// Owner looks an account up in the directory, completely read before.
	Owner(ctx context.Context, account mail.AccountID) (Owner, error)
}

// Result of a delivery.
type Result struct {
	Code      state.Code
	Duplicate bool // the store had these octets, whose reply was in doubt
}

// Worker deals with tails. All fields are required.
type Worker struct {
	FS      vfs.FS
	Cluster Cluster
	Now     func() time.Time
	Log     *slog.Logger
}

// maxAsked bounds the messages that are asked about at once, since each question
// costs the master a look at its whole journal.
const maxAsked = 1000

// maxFailures in a row end an attempt: the store is not there.
const maxFailures = 3

// Run deals with one source: at first, or again for what was left. The report, which
// is kept, says what came of it; the error why it could not go on.
func (w *Worker) Run(ctx context.Context, src Source, forks []cluster.Fork) (*Report, error) {
	if err := src.makeDir(w.FS); err != nil {
		return nil, err
	}
	l, err := openLedger(w.FS, src.path(w.FS, ".log"), w.FS.PathJoin(src.Meta, directory))
	if err != nil {
		return nil, err
	}
	a := &attempt{
		Worker: w, ctx: ctx, src: &src, ledger: l, owners: map[mail.AccountID]Owner{},
		log: w.Log.With("store", src.Store, "slot", src.Slot.String(), "tail", src.Name()),
	}
	left, err := salvage.Left(ctx, salvage.LeftConfig{
		FS: w.FS, Dirs: src.dirs(w.FS), Cut: src.Cut, Forks: forks, Scratch: src.path(w.FS, ".index"),
	}, a.take)
	err = errors.Join(err, l.sync(), l.file.Close())
	r := &Report{
		Store: src.Store, Slot: src.Slot, Name: src.Name(), State: StateOpen, From: left.From, To: left.To, Epoch: left.Epoch, Forks: len(forks),
		Counts: l.Counts, Users: l.order, Damage: left.Damage, Log: src.path(w.FS, ".log"), At: w.Now(),
	}
	switch {
	case err != nil:
		r.Error = err.Error()
	case !left.Left:
		r.State = StateNone
	case left.Hole:
		r.Error = "a part of it cannot be read: " + strings.Join(left.Damage, "; ")
	case r.Left == 0:
		r.State = StateDone
	}
	if r.Users == nil {
		r.Users = []*UserReport{}
	}
	return r, errors.Join(err, src.write(w.FS, r))
}

// attempt is one run.
type attempt struct {
	*Worker
	ctx      context.Context
	src      *Source
	ledger   *ledger
	log      *slog.Logger
	owners   map[mail.AccountID]Owner
	waiting  []message
	from     cluster.LSN // where the history was left
	failures int         // in a row
}

// message waits to be asked about and delivered.
type message struct {
	salvage.Added
	place
	ask  slot.Ask
	what string
}

func (a *attempt) owner(id mail.AccountID) (Owner, error) {
	if o, ok := a.owners[id]; ok {
		return o, nil
	}
	o, err := a.Cluster.Owner(a.ctx, id)
	if err != nil {
		return o, fmt.Errorf("look up whose account %v is: %w", id, err)
	}
	if o.User == "" {
		o.Store = a.src.Store
	}
	if len(a.owners) >= maxAsked {
		clear(a.owners)
	}
	a.owners[id] = o
	return o, nil
}
