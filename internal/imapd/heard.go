package imapd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"slices"
	"sync/atomic"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// maxHeard is how many events of one account are told at a time, and how many of its
// mailboxes have changed.
const maxHeard = 10_000

// heard is what has happened in another user's account up to a time, as far as the client
// may want to be told. Names are as it knows them.
type heard struct {
	at      session.Followed
	from    mail.ModSeq
	first   bool // the client was told nothing of the account yet
	events  []mail.Event
	changed []mail.MailboxInfo
	only    map[mail.MailboxID]bool // of those, where only flags have changed
	all     []mail.MailboxInfo      // if there are events, names, or it is the first time
	boxes   map[mail.MailboxID]mail.MailboxInfo
	homes   homes
	names   []string // whose LIST is asked for
}

// hear reads what has happened in an account since the client was told of it; nil for
// nothing. mail.ErrNoAccount, mail.ErrBelowFloor, mail.ErrLimit, errNotFollowable: that it
// cannot be told; after other errors it may be. A panic is this account's alone.
func (f *follower) hear(ctx context.Context, w *followee, at homes, names []string) (h *heard, err error) {
	defer func() {
		if p := recover(); p != nil {
			h, err = nil, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if w.prefix == "" { // of a token, and left
		_, _, err := f.cfg.Others.Name(ctx, w.owner)
		return nil, err
	}
	if w.account == nil {
		if w.account, err = f.cfg.Others.Open(ctx, w.owner); err != nil {
			return nil, err
		}
	}
	if w.stop == nil {
		w.watch, w.stop = w.account.Watch(mail.MailboxID{})
	}
	v, err := w.account.View(ctx)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	account, err := v.Account()
	if err != nil {
		return nil, err
	}
	h = &heard{at: session.Followed{Owner: w.owner, Fork: account.Fork, Seq: account.ModSeq}, from: w.since.Seq, first: !w.known, homes: at, names: names}
	switch {
	case h.first:
	case account.Fork != w.since.Fork:
		return nil, fmt.Errorf("account %s has another history: %w", w.owner, errNotFollowable)
	case account.ModSeq == w.since.Seq && len(names) == 0:
		return nil, nil
	default:
		if err := h.happened(v, w, f.notify); err != nil {
			return nil, err
		}
	}
	if h.first || len(h.events) > 0 || len(names) > 0 {
		var left atomic.Int64
		left.Store(maxOthersNames)
		if h.all, err = w.names(v, &left); err != nil {
			return nil, err
		}
		h.all = slices.DeleteFunc(h.all, func(info mail.MailboxInfo) bool { return at.kept[info.Name] })
		for i := range h.all {
			h.all[i].Subscribed = at.subscribed[h.all[i].Name]
		}
	}
	return h, nil
}

// happened reads events and changed mailboxes.
func (h *heard) happened(v mail.View, w *followee, n *imapwire.Notify) error {
	h.boxes, h.only = map[mail.MailboxID]mail.MailboxInfo{}, map[mail.MailboxID]bool{}
	for e, err := range v.Events(w.since.Seq) {
		if err != nil {
			return err
		}
		if len(h.events) == maxHeard {
			return fmt.Errorf("more than %d events: %w", maxHeard, mail.ErrLimit)
		}
		for _, name := range []*string{&e.Name, &e.NewName} {
			if *name != "" {
				*name = w.prefix + *name
			}
		}
		h.events = append(h.events, e)
	}
	for _, e := range h.events {
		if info, err := v.Mailbox(e.Mailbox); err == nil {
			h.boxes[e.Mailbox] = w.seen(info, h.homes)
		} else if !errors.Is(err, mail.ErrNoMailbox) {
			return err
		}
	}
	for info, err := range v.Changed(w.since.Seq) {
		if err != nil {
			return err
		}
		info = w.seen(info, h.homes)
		events := eventsOf(n, info.Name, info.Subscribed, true)
		if events&imapwire.MessageEvents == 0 || h.homes.kept[info.Name] {
			continue
		}
		if len(h.changed) == maxHeard {
			return fmt.Errorf("more than %d mailboxes: %w", maxHeard, mail.ErrLimit)
		}
		if events&imapwire.FlagChange == 0 && info.Rights.Has(readable) {
			only, err := onlyFlags(v, &info, w.since.Seq)
			if err != nil {
				return err
			}
			h.only[info.ID] = only
		}
		h.changed = append(h.changed, info)
	}
	return nil
}

// seen is a mailbox of the account as the session's user knows it.
func (p *place) seen(info mail.MailboxInfo, at homes) mail.MailboxInfo {
	info.Name, info.Use = p.prefix+info.Name, ""
	info.Subscribed = at.subscribed[info.Name]
	return info
}

// empty reports whether there is nothing to tell.
func (h *heard) empty() bool {
	return !h.first && len(h.events) == 0 && len(h.changed) == 0 && len(h.names) == 0
}

// Events implements source.
func (h *heard) Events(mail.ModSeq) iter.Seq2[mail.Event, error] { return each(h.events) }

// Changed implements source.
func (h *heard) Changed(mail.ModSeq) iter.Seq2[mail.MailboxInfo, error] { return each(h.changed) }

// Mailboxes implements source.
func (h *heard) Mailboxes() iter.Seq2[mail.MailboxInfo, error] { return each(h.all) }

// Subscriptions implements source: all at home that are for others' names.
func (h *heard) Subscriptions() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for name := range h.homes.subscribed {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// Mailbox implements source.
func (h *heard) Mailbox(id mail.MailboxID) (mail.MailboxInfo, error) {
	info, ok := h.boxes[id]
	if !ok {
		return info, mail.ErrNoMailbox
	}
	return info, nil
}

// onlyFlags implements source.
func (h *heard) onlyFlags(m *mail.MailboxInfo, _ mail.ModSeq) (bool, error) { return h.only[m.ID], nil }

func each[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, x := range list {
			if !yield(x, nil) {
				return
			}
		}
	}
}

// tellOthers tells what has been heard of other users' mailboxes. It waits for nothing.
func (s *Session) tellOthers() error {
	f := s.follower
	if f == nil {
		return nil
	}
	list, lost := f.take()
	if lost != nil {
		s.overflow()
		return nil
	}
	before, own := len(s.out.buf), false
	for _, h := range list {
		t := teller{Session: s, v: h, away: true, own: s.ownAway[h.at.Owner]}
		if err := t.heard(h); err != nil {
			return err
		}
		own = own || len(t.own) > 0
		if len(t.own) > 0 {
			s.ownAway[h.at.Owner] = slices.DeleteFunc(t.own, func(at mail.ModSeq) bool { return at <= h.at.Seq })
		}
	}
	if own || len(s.out.buf) > before || slices.ContainsFunc(list, func(h *heard) bool { return h.first }) {
		s.out.delta.Followed = f.told()
	}
	if slices.ContainsFunc(list, func(h *heard) bool { return len(h.names) > 0 }) && !f.listing() {
		home := s.notified // what it left to the follower is told, too
		s.out.delta.NotifySeq = &home
	}
	return nil
}

// heard tells all of it.
func (t *teller) heard(h *heard) error {
	var err error
	if h.first {
		err = t.introduce(h, true, true)
	} else {
		err = t.since(h.from)
	}
	for _, name := range h.names {
		if err == nil {
			err = t.list(imapwire.SubscriptionChange, name)
		}
	}
	return err
}

// introduce tells of an account of which the client was told nothing: its names, if these
// are news, and with status how its mailboxes are.
func (t *teller) introduce(h *heard, names, status bool) error {
	for i := range h.all {
		info := &h.all[i]
		events := t.eventsOf(info.Name, info.Subscribed)
		if names && events&imapwire.MailboxName != 0 {
			if err := t.line(info.Name); err != nil {
				return err
			}
		}
		if err := t.begin(info, events, status); err != nil {
			return err
		}
	}
	return nil
}

// leaveToFollower leaves what happens at home to a name that is another user's to the follower, who
// knows what it is there.
func (t *teller) leaveToFollower(name string) (bool, error) {
	if t.away || t.cfg.Others == nil || !forOthers(name) {
		return false, nil
	}
	e, err := t.entry(name)
	if err != nil || e.at != nil { // one's own from before
		return false, err
	}
	if t.follower == nil && t.notify != nil && slices.ContainsFunc(t.notify.Groups, followsSubscribed) {
		t.beginFollower(t.newFollower(t.notify, nil)) // the first that is subscribed
	}
	if t.follower != nil {
		t.follower.refresh(name)
	}
	return true, nil
}

// didAway notes a change in another user's account that is this session's.
func (s *Session) didAway(owner mail.AccountID, at mail.ModSeq) {
	if s.follower == nil || len(s.ownAway[owner]) == maxHeard || !s.follower.follows(owner) {
		return
	}
	s.ownAway[owner] = append(s.ownAway[owner], at)
}
