package remote

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/host"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/route"
	"github.com/tandemail/tandemail/internal/spool"
	"github.com/tandemail/tandemail/internal/state"
)

// Routes says who is master; *route.Table is one.
type Routes interface {
	Lookup(s cluster.Store) (route.Route, bool)
	Learn(r route.Route)
	// Await returns when the route differs from tried, or after pause.
	Await(ctx context.Context, tried route.Route, pause time.Duration) (route.Route, error)
}

// Dial opens a stream to the service of the machine that the route leads to, with this
// metadata, within ctx. Streams to one machine share connections: link.Pool does that.
type Dial func(ctx context.Context, r route.Route, meta []byte) (net.Conn, error)

// Config says what Accounts need. Routes and Dial are required; zero elsewhere means the
// value named.
type Config struct {
	Routes Routes
	Dial   Dial
	// Here finds the slot of a store on this machine, whose accounts need no way while it
	// is master; nil: there are none.
	Here  func(cluster.Store) (host.Slot, error)
	Spool *spool.Dir    // for messages above 1 MiB on their way out; memory
	Hold  time.Duration // longest wait for a master; 8 seconds
}

// Accounts are those at other machines that sessions here have open. All sessions share
// one stream an account, which ends when nobody uses it. Any goroutine may call its methods.
type Accounts struct {
	cfg    Config
	stager *state.Stager
	counts struct{ open, opened, repeats atomic.Int64 }

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	of     map[key]*access
}

// begin runs f beside its caller, unless all has ended.
func (a *Accounts) begin(f func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.work.Go(f)
	}
	return !a.closed
}

type key struct {
	store cluster.Store
	id    mail.AccountID
}

// maxKept is how many accounts are remembered that nobody may be using.
const maxKept = 1_000

// NewAccounts builds it; it connects when it is asked. Close it.
func NewAccounts(cfg Config) (*Accounts, error) {
	if cfg.Routes == nil || cfg.Dial == nil {
		return nil, errors.New("remote accounts: Routes and Dial are required")
	}
	cfg.Hold = cmp.Or(cfg.Hold, defaultHold)
	a := &Accounts{cfg: cfg, of: map[key]*access{}}
	a.stager = state.NewStager(nil)
	if cfg.Spool != nil {
		a.stager = state.NewStager(spooling{cfg.Spool})
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a, nil
}

// Account gives the account with that id in a store, which need not exist: that of the
// slot here if it is master now, else one that finds whoever is. Nobody closes it.
func (a *Accounts) Account(store cluster.Store, id mail.AccountID) mail.Account {
	if a.cfg.Here != nil {
		if s, err := a.cfg.Here(store); err == nil && s.Standing().Serving {
			return s.Account(id)
		}
	}
	return a.elsewhere(store, id)
}

func (a *Accounts) elsewhere(store cluster.Store, id mail.AccountID) *Account {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := key{store, id}
	at := a.of[k]
	if at == nil {
		if len(a.of) >= maxKept {
			a.forget()
		}
		at = &access{all: a, store: store, id: id, watches: watches{turn: newTurn(), of: map[mail.MailboxID]*watch{}}}
		a.of[k] = at
	}
	return &Account{access: at}
}

// forget drops the accounts without a connection. Who has one of them still may go on:
// it shares its stream with nobody then. Called with the lock.
func (a *Accounts) forget() {
	for k, at := range a.of {
		if at.connected() == nil {
			delete(a.of, k)
		}
	}
}

// Close ends all connections and waits. Nothing asked afterwards is answered.
func (a *Accounts) Close() error {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.cancel()
	a.work.Wait()
	return nil
}

// follow returns when another machine than r's is master of the store, or ctx ends.
func (a *Accounts) follow(ctx context.Context, r route.Route) {
	for last := r; ; {
		now, err := a.cfg.Routes.Await(ctx, last, rewatch)
		if err != nil || now.Master != "" && now.Master != r.Master && now.Epoch > r.Epoch {
			return
		}
		last = now
	}
}

// Stats is a snapshot of what Accounts count.
type Stats struct {
	Open    int64 // streams to masters
	Opened  int64 // so far
	Repeats int64 // questions that were asked again, since a master was lost or took nothing
}

// Stats counts.
func (a *Accounts) Stats() Stats {
	return Stats{a.counts.open.Load(), a.counts.opened.Load(), a.counts.repeats.Load()}
}
