package imapd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// NOTIFY tells of other users' mailboxes, too. Their accounts may be far away and slow, so
// no command and no notification waits for them: a follower watches them beside the
// session, and reads what has happened; the session tells it when it tells other news.

const (
	lookPause    = 250 * time.Millisecond // between two looks at an account, however much happens there
	retryPause   = 10 * time.Second       // before one that did not answer is asked again
	resolvePause = time.Minute            // between two looks for who has granted something
	maxListed    = 100                    // names that wait to be told of
)

// follower watches the accounts of others that one NOTIFY is about. Its goroutine runs
// until it is stopped; it holds a watch for each of them, and for each at most one account
// of what has happened, which the session takes.
type follower struct {
	cfg    *Config
	notify *imapwire.Notify
	log    *slog.Logger
	cancel context.CancelFunc // ends run; nil before it
	news   chan struct{}      // something can be taken
	wake   chan struct{}      // something was taken, or asked for

	resolveAt time.Time // when whom it follows is to be found out again; run's

	mu    sync.Mutex
	of    map[mail.AccountID]*followee
	homes homes
	lost  error // why no more can be told
	stale bool  // whom it follows is to be found out again
	names []string
}

// followee is an account that is followed. What is not said otherwise belongs to the one
// who looks at it, that is the follower's goroutine; the rest is the follower's mutex's.
type followee struct {
	*place
	watch <-chan struct{}
	stop  func() // ends the watch; nil: there is none
	due   bool   // it is to be looked at
	next  time.Time

	known   bool // the client was told of it, up to:
	since   session.Followed
	leaving bool     // nothing more is asked of it
	asked   []string // names whose LIST is asked for
	heard   *heard   // not taken yet
}

// homes is what the session's own account says of others' mailboxes.
type homes struct {
	me         mail.AccountID
	subscribed map[string]bool
	kept       map[string]bool // names that are one's own, from before they were for others
}

var (
	errTooManyFollowed = fmt.Errorf("more than %d accounts of others: %w", session.MaxFollowed, mail.ErrLimit)
	errNotFollowable   = errors.New("what has happened in another account cannot be told any more")
)

// concernsOthers reports whether a registration is about other users' mailboxes: by name,
// or since one of them is subscribed. Who has neither costs nothing.
func (s *Session) concernsOthers(ctx context.Context, n *imapwire.Notify) (bool, error) {
	if n == nil || s.cfg.Others == nil {
		return false, nil
	}
	if slices.ContainsFunc(n.Groups, namesOthers) {
		return true, nil
	}
	if !slices.ContainsFunc(n.Groups, followsSubscribed) {
		return false, nil
	}
	s.work(&s.home)
	v, err := s.current(ctx)
	if err != nil {
		return false, err
	}
	for name, err := range v.Subscriptions() {
		if err != nil || forOthers(name) {
			return err == nil, err
		}
	}
	return false, nil
}

func namesOthers(g imapwire.EventGroup) bool {
	return tellsOfNames(&g) && slices.ContainsFunc(g.Names, func(name string) bool {
		return forOthers(name) || name == "" && g.Filter == imapwire.FilterSubtree
	})
}

func followsSubscribed(g imapwire.EventGroup) bool {
	return tellsOfNames(&g) && g.Filter == imapwire.FilterSubscribed
}

// tellsOfNames reports whether a group is about mailboxes that can be another user's.
func tellsOfNames(g *imapwire.EventGroup) bool {
	return g.Filter >= imapwire.FilterSubscribed && g.Events&^imapwire.ServerMetadataChange != 0
}

// newFollower makes one that begins where the client was told of accounts before.
func (s *Session) newFollower(n *imapwire.Notify, told []session.Followed) *follower {
	f := &follower{
		cfg: &s.cfg, notify: n, log: s.log, news: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		of: map[mail.AccountID]*followee{}, stale: true,
	}
	for _, t := range told {
		f.of[t.Owner] = &followee{place: &place{owner: t.Owner}, known: true, since: t, due: true}
	}
	return f
}

// followAnew makes the follower of a NOTIFY command and has it look at all accounts once:
// who answers in time is followed from now on. nil: it is about nobody else.
// errTooManyFollowed.
func (s *Session) followAnew(ctx context.Context, n *imapwire.Notify) (*follower, error) {
	if ok, err := s.concernsOthers(ctx, n); !ok || err != nil {
		return nil, err
	}
	s.closeView()
	f := s.newFollower(n, nil)
	asking, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	switch err := f.resolve(asking); {
	case err == nil:
		due, _ := f.due()
		f.look(asking, due)
	case errors.Is(err, errTooManyFollowed):
		return nil, err
	default:
		f.refresh("") // when it can be found out
	}
	return f, ctx.Err()
}

// followOn goes on at another master.
func (s *Session) followOn(ctx context.Context) error {
	if s.follower != nil || s.followed {
		return nil
	}
	ok, err := s.concernsOthers(ctx, s.notify)
	if err != nil {
		return err
	}
	if ok {
		s.beginFollower(s.newFollower(s.notify, s.told))
	}
	s.followed, s.told = true, nil
	return nil
}

// beginFollower has the follower run beside the session until it is stopped.
func (s *Session) beginFollower(f *follower) {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	s.follower, s.ownAway = f, map[mail.AccountID][]mail.ModSeq{}
	s.following.Go(func() { f.run(ctx) })
}

// unfollow stops what follows others, without waiting for it.
func (s *Session) unfollow() {
	if s.follower != nil {
		s.follower.cancel()
		s.follower, s.ownAway = nil, nil
	}
}

// Close ends what the session does beside its commands, and waits for it: seconds, if
// another machine is just lost. Nothing is to be called after it.
func (s *Session) Close() {
	s.unfollow()
	s.following.Wait()
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it has been already
	}
}

// run follows until ctx ends, or no more can be told.
func (f *follower) run(ctx context.Context) {
	defer f.end()
	defer func() {
		if p := recover(); p != nil {
			f.fail(fmt.Errorf("panic: %v: %w\n%s", p, errNotFollowable, debug.Stack()))
		}
	}()
	for ctx.Err() == nil {
		f.mu.Lock()
		stale, lost := f.stale, f.lost
		f.mu.Unlock()
		if lost != nil {
			return
		}
		if now := time.Now(); stale || !now.Before(f.resolveAt) {
			f.resolveAt = now.Add(retryPause)
			if err := f.resolve(ctx); err != nil {
				f.fail(err)
				continue
			}
		}
		due, next := f.due()
		if len(due) > 0 {
			f.look(ctx, due)
			continue
		}
		if next.IsZero() || f.resolveAt.Before(next) {
			next = f.resolveAt
		}
		f.await(ctx, next)
	}
}

// fail notes that no more can be told, unless the error is of the moment.
func (f *follower) fail(err error) {
	if passingAway(err) {
		f.log.Info("who is followed could not be found out", "err", err)
		return
	}
	f.mu.Lock()
	f.lose(err)
	f.mu.Unlock()
}

// lose notes that no more can be told. Called with the lock.
func (f *follower) lose(err error) {
	f.log.Info("other users' mailboxes are not followed any more", "err", err)
	f.lost = err
	poke(f.news)
}

// passingAway: the account may answer soon.
func passingAway(err error) bool {
	return !errors.Is(err, mail.ErrNoAccount) && !errors.Is(err, mail.ErrBelowFloor) && !errors.Is(err, mail.ErrLimit) && !errors.Is(err, errNotFollowable)
}

// held is how much was heard and not taken. Called with the lock.
func (f *follower) held() (n int) {
	for _, w := range f.of {
		if h := w.heard; h != nil {
			n += len(h.all) + len(h.events) + len(h.changed)
		}
	}
	return n
}

// due are the accounts to be looked at now, and when the next is to be if there are none:
// not before something is taken if much is held.
func (f *follower) due() (list []*followee, next time.Time) {
	var left []*followee
	defer func() { unwatch(left) }()
	f.mu.Lock()
	defer f.mu.Unlock()
	now, full := time.Now(), f.held() >= maxOthersNames
	for id, w := range f.of {
		switch {
		case w.heard != nil, full:
		case !w.due && w.leaving:
			left = append(left, w)
			delete(f.of, id)
		case !w.due:
		case !w.next.After(now):
			list = append(list, w)
		case next.IsZero() || w.next.Before(next):
			next = w.next
		}
	}
	return list, next
}

// await returns when an account signals, something was taken or asked for, or the time has
// come.
func (f *follower) await(ctx context.Context, until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	cases := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(f.wake)},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(timer.C)},
	}
	fixed := len(cases)
	var watched []*followee
	f.mu.Lock()
	for _, w := range f.of {
		if w.stop != nil && !w.due {
			watched = append(watched, w)
			cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(w.watch)})
		}
	}
	f.mu.Unlock()
	if i, _, _ := reflect.Select(cases); i >= fixed {
		f.mu.Lock()
		watched[i-fixed].due = true
		f.mu.Unlock()
	}
}

// end ends all watches.
func (f *follower) end() {
	f.mu.Lock()
	list := slices.Collect(maps.Values(f.of))
	f.mu.Unlock()
	unwatch(list)
}

// unwatch ends the watches of accounts. It may wait for another machine.
func unwatch(list []*followee) {
	for _, w := range list {
		if w.stop != nil {
			w.stop()
			w.stop = nil
		}
	}
}

// look looks at accounts, some at a time, and returns when all have answered or could not.
func (f *follower) look(ctx context.Context, list []*followee) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	turns := make(chan struct{}, maxAsked)
	var looking sync.WaitGroup
	for _, w := range list {
		turns <- struct{}{}
		looking.Go(func() {
			defer func() { <-turns }()
			f.mu.Lock()
			full := f.held() >= maxOthersNames
			f.mu.Unlock()
			if !full {
				f.lookAt(ctx, w)
			}
		})
	}
	looking.Wait()
}

// lookAt looks at one account and keeps what it has heard.
func (f *follower) lookAt(ctx context.Context, w *followee) {
	f.mu.Lock()
	w.due = false // what happens from here on signals again
	names, homes := w.asked, f.homes
	w.asked = nil
	f.mu.Unlock()
	h, err := f.hear(ctx, w, homes, names)
	if err != nil {
		unwatch([]*followee{w})
		w.account = nil // whoever is master next may be found by another way
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w.next = time.Now().Add(lookPause)
	switch {
	case h != nil && h.empty():
		w.since = h.at
	case h != nil:
		w.heard = h
		poke(f.news)
	case err == nil:
	case passingAway(err):
		f.log.Info("another user's account is not followed for now", "owner", w.owner.String(), "err", err)
		w.asked = append(names, w.asked...)
		w.due, w.next = !w.leaving, time.Now().Add(retryPause)
	case w.leaving && !w.known:
	default:
		f.lose(err)
	}
}

// take gives what was heard since the last time, by owner, and why there will be no more.
func (f *follower) take() (list []*heard, lost error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.of {
		if h := w.heard; h != nil {
			list = append(list, h)
			w.heard, w.known, w.since = nil, true, h.at
			w.due = w.due || len(w.asked) > 0
		}
	}
	slices.SortFunc(list, func(a, b *heard) int { return slices.Compare(a.at.Owner[:], b.at.Owner[:]) })
	if len(list) > 0 {
		poke(f.wake)
	}
	return list, f.lost
}

// told is what the client has been told of, by owner.
func (f *follower) told() (list []session.Followed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.of {
		if w.known {
			list = append(list, w.since)
		}
	}
	slices.SortFunc(list, func(a, b session.Followed) int { return slices.Compare(a.Owner[:], b.Owner[:]) })
	return list
}

// listing reports whether there are names whose LIST is not told yet.
func (f *follower) listing() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.of {
		if len(w.asked) > 0 || w.heard != nil && len(w.heard.names) > 0 {
			return true
		}
	}
	return len(f.names) > 0
}

// follows reports whether an account is followed.
func (f *follower) follows(owner mail.AccountID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.of[owner] != nil
}

// refresh has it look anew for whom to follow: names at home have changed. list is a name
// whose LIST response is asked for, or "".
func (f *follower) refresh(list string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stale = true; list != "" && len(f.names) < maxListed {
		f.names = append(f.names, list)
	}
	poke(f.wake)
}
