package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/route"
	"github.com/tandemail/tandemail/internal/state"
)

// Account is an account at another machine. [Accounts] makes it.
type Account struct {
	*access
	as mail.AccountID // whose eyes see it; zero: the owner's
}

var _ mail.Account = (*Account)(nil)

// access is the way to an account, which all who use it share.
type access struct {
	all   *Accounts
	store cluster.Store
	id    mail.AccountID

	watches watches
	derived derived
	recents state.Recents

	mu      sync.Mutex
	c       *conn         // nil or dead: none
	finding chan struct{} // closed when the search under way ends; nil: there is none
	err     error         // of the last search
}

// patiently has f ask whoever is master, until it says that its error is final, or for
// as long as a wait for a master may last. The error is f's last, or mail.ErrBusy.
func (a *access) patiently(ctx context.Context, f func(*conn) (final bool, err error)) error {
	pause := firstPause
	for {
		c, err := a.connect(ctx)
		if err != nil {
			return err
		}
		final, err := f(c)
		if err == nil || final {
			return err
		}
		if errors.Is(err, mail.ErrMoved) {
			c.f.Abort() // another machine is master, or will be
			<-c.ended
		}
		if pause == firstPause {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, a.all.cfg.Hold, err)
			defer cancel()
		}
		a.all.counts.repeats.Add(1)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
		pause = min(2*pause, lastPause)
	}
}

// connect returns a live connection to the master. It waits for one, which takes a hold
// at most. mail.ErrBusy.
func (a *access) connect(ctx context.Context) (*conn, error) {
	for try := 0; ; try++ {
		a.mu.Lock()
		c := a.c
		if c != nil && !c.dead() {
			a.mu.Unlock()
			return c, nil
		}
		if a.finding == nil {
			a.search()
		}
		finding, err := a.finding, a.err
		a.mu.Unlock()
		if finding == nil {
			return nil, err
		}
		select {
		case <-finding:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the master of store %s: %w: %w", a.store, mail.ErrBusy, context.Cause(ctx))
		}
		a.mu.Lock()
		err = a.err
		a.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case try == connectTries:
			return nil, fmt.Errorf("connections to the master of store %s end as they begin: %w", a.store, mail.ErrBusy)
		}
	}
}

var errStopped = fmt.Errorf("remote accounts: %w: %w", cluster.ErrStopped, mail.ErrBusy)

// connectTries bounds how often a connection may end before it was of use.
const connectTries = 3

// connected is the connection if there is one.
func (a *access) connected() *conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.c == nil || a.c.dead() {
		return nil
	}
	return a.c
}

// search begins to look for the master; those who wait see finding closed. It goes on
// after a failure as long as somebody watches. Called with the lock.
func (a *access) search() {
	a.finding = make(chan struct{})
	begun := a.all.begin(func() {
		for a.found(a.seek(a.all.ctx)) {
			select {
			case <-time.After(lastPause):
			case <-a.all.ctx.Done():
			}
		}
	})
	if !begun {
		close(a.finding)
		a.finding, a.err = nil, errStopped
	}
}

// found notes what a search came to; true: search again.
func (a *access) found(c *conn, err error) (again bool) {
	watched := a.watches.any()
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.finding)
	a.finding, a.err = nil, err
	if err == nil {
		a.c = c
	}
	if again = watched && (err != nil || c.dead()) && a.all.ctx.Err() == nil; again {
		a.finding = make(chan struct{})
	}
	return again
}

// ended is told that a connection has: who watches must know, and needs another.
func (a *access) ended() {
	if !a.watches.any() || a.all.ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.finding == nil && (a.c == nil || a.c.dead()) {
		a.search()
	}
}

// seek asks whoever is master until one takes the conversation. mail.ErrBusy.
func (a *access) seek(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, a.all.cfg.Hold)
	defer cancel()
	last, pause := errors.New("it has none"), firstPause
	r, _ := a.all.cfg.Routes.Lookup(a.store)
	for {
		if r.Store = a.store; r.Master != "" {
			c, err := a.open(ctx, r)
			if err == nil {
				return c, nil
			}
			last = err
		}
		now, err := a.all.cfg.Routes.Await(ctx, r, pause)
		if err != nil {
			return nil, fmt.Errorf("no master of store %s gives access to account %s: %v: %w", a.store, a.id, last, mail.ErrBusy)
		}
		r, pause = now, min(2*pause, lastPause)
	}
}

// open opens the conversation at one machine, and gives up when another one is appointed.
func (a *access) open(ctx context.Context, r route.Route) (*conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	over, replaced := context.WithCancel(a.all.ctx) // ends with the machine's turn
	a.all.work.Go(func() {
		defer replaced()
		a.all.follow(over, r)
	})
	defer context.AfterFunc(over, cancel)()
	c, err := a.greet(ctx, r)
	if err != nil {
		replaced()
		return nil, err
	}
	context.AfterFunc(over, c.f.Abort)
	a.all.counts.opened.Add(1)
	a.all.counts.open.Add(1)
	a.all.work.Go(func() {
		defer a.all.counts.open.Add(-1)
		defer a.ended()
		defer replaced()
		c.run()
	})
	if err := a.watches.renew(ctx, c); err != nil {
		c.f.Abort()
		return nil, err
	}
	return c, nil
}

// greet opens the stream and reads the master's first word.
func (a *access) greet(ctx context.Context, r route.Route) (*conn, error) {
	nc, err := a.all.cfg.Dial(ctx, r, hello{a.store, a.id, r.Epoch}.append(nil))
	if err != nil {
		return nil, err
	}
	f := link.NewFrames(nc, frames())
	stop := context.AfterFunc(ctx, f.Abort)
	err = f.SetReadDeadline(time.Now().Add(silence))
	var first frame
	if err == nil {
		first, err = receive(f)
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		switch first := first.(type) {
		case opened:
			r.Epoch = max(r.Epoch, first.Epoch)
			return newConn(f, r), nil
		case refused:
			if first.Epoch > r.Epoch {
				a.all.cfg.Routes.Learn(route.Route{Store: a.store, Epoch: first.Epoch})
			}
			err = errorOf(first.Code, first.Text)
		default:
			err = fmt.Errorf("conversation begins with %T: %w", first, errProtocol)
		}
	}
	f.Abort()
	return nil, fmt.Errorf("open account at machine %s: %w", r.Master, err)
}

// As implements mail.Account.
func (a *Account) As(user mail.AccountID) mail.Account { return &Account{a.access, user} }

// View implements mail.Account. It waits for a master as long as a hold lasts, then
// fails with mail.ErrBusy.
func (a *Account) View(ctx context.Context) (mail.View, error) {
	var v *view
	err := a.patiently(ctx, func(c *conn) (bool, error) {
		if !c.hold() {
			return false, c.lost()
		}
		octets, id, _, err := c.call(ctx, qView{a.as})
		if err == nil {
			v = &view{c: c, id: id, again: a}
			v.info, err = decoded(c, octets, decoder.account)
		}
		if err != nil {
			c.release()
		}
		return !passing(err), err
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// passing: the same question may be answered soon.
func passing(err error) bool {
	return errors.Is(err, mail.ErrBusy) || errors.Is(err, mail.ErrMoved) || errors.Is(err, mail.ErrUnknown)
}

// Stage implements mail.Account. The octets stay here until they are in a mailbox, so
// that no lost connection takes them away.
func (a *Account) Stage(ctx context.Context, r io.Reader, limit int64) (mail.Body, error) {
	st, err := a.all.stager.Stage(ctx, r, limit)
	if err != nil {
		return nil, err
	}
	return st, nil
}

// Watch implements mail.Account. It signals after each new connection too.
func (a *Account) Watch(m mail.MailboxID) (ch <-chan struct{}, stop func()) {
	return a.watches.watch(a.access, m)
}

// SetRecent implements mail.Account. It knows of what was raised on this machine.
func (a *Account) SetRecent(m mail.MailboxID, user string, upTo mail.UID) mail.UID {
	before := a.recents.Raise(state.RecentKey{Mailbox: m, User: user}, upTo)
	if upTo <= before {
		return before
	}
	if c := a.connected(); c != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()                                              // it waits for nothing
		_ = send(ctx, c.f, ask{0, qSetRecent{m, user, upTo}}) // it may be lost
	}
	return before
}

// staged is a body of this package, which is state's.
func staged(b mail.Body) (*state.Staged, error) {
	st, ok := b.(*state.Staged)
	if !ok {
		return nil, fmt.Errorf("body %T was not staged on a remote account: %w", b, mail.ErrCannot)
	}
	return st, nil
}
