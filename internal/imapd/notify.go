package imapd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// notifyCommand is NOTIFY (RFC 5465 3.1).
func (s *Session) notifyCommand(ctx context.Context, c *imapwire.Command, a *imapwire.Notify) (answer, error) {
	text := imapwire.AppendNotify(nil, a)
	g := a.Selected()
	if len(text) > session.MaxNotify || g != nil && !affordable(g.Items) {
		return no(imapwire.CodeNotificationOverflow, "That would be too much to be told of"), nil
	}
	f, err := s.followAnew(ctx, a)
	if errors.Is(err, errTooManyFollowed) {
		return no(imapwire.CodeNotificationOverflow, "Too many users have mailboxes like that"), nil
	}
	if err != nil {
		return answer{}, err
	}
	if err := s.sync(ctx, update{expunges: true, all: true}); err != nil {
		return answer{}, err
	}
	s.work(&s.home)
	v, err := s.current(ctx)
	if err != nil {
		return answer{}, err
	}
	account, err := v.Account()
	if err != nil {
		return answer{}, err
	}
	s.unfollow()
	s.notify, s.told, s.followed = a, nil, true
	s.notified, s.own = account.ModSeq, nil
	s.out.delta.Merge(session.Delta{Notify: text, NotifySeq: &account.ModSeq})
	if err := s.beginHome(v, a.Status); err != nil {
		return answer{}, err
	}
	if f == nil {
		return ok(c.Name + " completed"), nil
	}
	list, _ := f.take() // who cannot be followed says so again
	for _, h := range list {
		t := teller{Session: s, v: h, away: true}
		if err := t.introduce(h, false, a.Status); err != nil {
			return answer{}, err
		}
	}
	s.out.delta.Followed = f.told()
	s.beginFollower(f)
	return ok(c.Name + " completed"), nil
}

// readable are the rights without which nothing is told of a mailbox's messages
// (RFC 5465 5).
const readable = mail.MayLookup | mail.MayRead

// beginHome tells what the client has to know first of the mailboxes of its own account.
func (s *Session) beginHome(v mail.View, status bool) error {
	t := teller{Session: s, v: atHome{v}}
	for info, err := range v.Mailboxes() {
		if err == nil {
			err = t.begin(&info, t.eventsOf(info.Name, info.Subscribed), status)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// begin tells what a client has to know first that wants to be told of a mailbox: that it
// will not be (RFC 5465 3.1), or with status how it is.
func (t *teller) begin(info *mail.MailboxInfo, events imapwire.Events, status bool) error {
	switch {
	case events&imapwire.MessageEvents == 0 || info.NonExistent || t.box != nil && t.box.id == info.ID:
	case !info.Rights.Has(mail.MayLookup):
	case !info.Rights.Has(readable):
		t.noAccess(info.Name)
	case status:
		return t.statusLine(nil, info, statusOf(events)) // which needs no View for these
	}
	return nil
}

// statusOf is what a client that wants these events has to know first (RFC 5465 3.1).
func statusOf(events imapwire.Events) (items []imapwire.StatusItem) {
	for _, of := range []struct {
		events imapwire.Events
		item   imapwire.StatusItem
	}{
		{imapwire.MessageNew | imapwire.MessageExpunge, imapwire.StatusMessages},
		{imapwire.MessageNew, imapwire.StatusUIDNext},
		{imapwire.MessageNew | imapwire.FlagChange, imapwire.StatusUIDValidity},
		{imapwire.FlagChange, imapwire.StatusHighestModSeq},
	} {
		if events&of.events != 0 {
			items = append(items, of.item)
		}
	}
	return items
}

// affordable reports whether what is to be fetched of a new message, unasked, has a
// bound: no bodies, unless a small part of them.
func affordable(items []imapwire.FetchItem) bool {
	for _, item := range items {
		small := item.Partial != nil && item.Partial.Count <= maxInline
		switch item.Kind {
		case imapwire.ItemRFC822, imapwire.ItemRFC822Text, imapwire.ItemBinary:
			if !small {
				return false
			}
		case imapwire.ItemSection:
			if k := item.Section.Kind; !small && (k == imapwire.SectionAll || k == imapwire.SectionText) {
				return false
			}
		}
	}
	return true
}

// recallNotify is the registration of a token. ErrNotResumable.
func recallNotify(text []byte) (*imapwire.Notify, error) {
	if len(text) == 0 {
		return nil, nil
	}
	c, err := reparse(text)
	if err == nil {
		if n, ok := c.Args.(*imapwire.Notify); ok {
			return n, nil
		}
	}
	return nil, fmt.Errorf("%w: notification: %w", ErrNotResumable, errors.Join(err, errors.New("not a NOTIFY command")))
}

// selectedEvents are those of the selected mailbox that may be told: before the first
// NOTIFY all of them.
func (s *Session) selectedEvents() imapwire.Events {
	if s.notify == nil {
		return imapwire.MessageEvents
	}
	if g := s.notify.Selected(); g != nil {
		return g.Events
	}
	return 0
}

// immediate reports whether expunges may be told at any time.
func (s *Session) immediate() bool {
	g := s.notify.Selected()
	return g != nil && g.Filter == imapwire.FilterSelected
}

// eventsOf are those of a name, or of the mailbox that has it while it is not selected.
// NONE outweighs all other groups that the name belongs to.
func (t *teller) eventsOf(name string, subscribed bool) imapwire.Events {
	return eventsOf(t.notify, name, subscribed, t.away)
}

func eventsOf(n *imapwire.Notify, name string, subscribed, away bool) (events imapwire.Events) {
	for i := range n.Groups {
		if g := &n.Groups[i]; concerns(g, name, subscribed, away) {
			if g.Events == 0 {
				return 0
			}
			events |= g.Events
		}
	}
	return events
}

// concerns reports whether a group is about a name, away in another user's account. Where
// messages are delivered is settled anew for each of them, so that "inboxes" is "personal"
// (RFC 5465 6.3).
func concerns(g *imapwire.EventGroup, name string, subscribed, away bool) bool {
	switch g.Filter {
	case imapwire.FilterInboxes, imapwire.FilterPersonal:
		return !away
	case imapwire.FilterSubscribed:
		return subscribed
	}
	for _, n := range g.Names {
		switch below, ok := strings.CutPrefix(name, n); {
		case name == n:
			return true
		case ok && g.Filter == imapwire.FilterSubtree && (n == "" || strings.HasPrefix(below, mail.Separator)):
			return true
		}
	}
	return false
}

// follows reports whether anything is to be told beside the selected mailbox.
func (s *Session) follows() bool {
	if s.notify == nil {
		return s.enabled&(session.Metadata|session.MetadataServer) != 0
	}
	for i := range s.notify.Groups {
		if s.notify.Groups[i].Filter > imapwire.FilterSelectedDelayed {
			return true
		}
	}
	return false
}

// overflow ends all notifications (RFC 5465 5.8).
func (s *Session) overflow() {
	s.out.status(imapwire.CodeNotificationOverflow, "Too much has happened; say NOTIFY again")
	s.unfollow()
	s.notify, s.told, s.followed = new(imapwire.Notify), nil, true
	s.out.delta.Merge(session.Delta{Notify: imapwire.AppendNotify(nil, s.notify)})
}

// Watch tells what the client asked to be told of while it is quiet, each time as a
// unit, until EndIdle names this number. Its Done has no line. Errors are as of Execute.
func (s *Session) Watch(ctx context.Context, number uint64) error {
	s.number, s.name = number, "watch"
	s.out = output{sink: s.cfg.Sink, command: number, buf: s.out.buf}
	defer func() {
		s.closeView()
		s.out.buf = s.out.reuse()
	}()
	if s.notify == nil {
		return fmt.Errorf("watch without NOTIFY: %w", session.ErrMalformed)
	}
	if err := s.linger(ctx, update{expunges: s.immediate()}); err != nil {
		return s.excuse(ctx, err)
	}
	return s.out.silent(ctx)
}

// linger tells all that is new, again and again, until EndIdle.
func (s *Session) linger(ctx context.Context, u update) error {
	if err := s.followOn(ctx); err != nil {
		return err
	}
	var home, selected, others <-chan struct{}
	if s.follows() {
		ch, stop := s.home.account.Watch(mail.MailboxID{}) // all of it
		defer stop()
		home = ch
	}
	if b := s.box; b != nil && (b.at.away() || home == nil) {
		ch, stop := b.at.account.Watch(b.id)
		defer stop()
		selected = ch
	}
	if b := s.box; b != nil && b.at.away() && home == nil {
		ch, stop := s.home.account.Watch(b.id) // one's key for it
		defer stop()
		home = ch
	}
	for {
		s.closeView()
		if err := s.news(ctx, u); err != nil {
			return err
		}
		s.closeView()
		if err := s.out.flush(ctx); err != nil {
			return err
		}
		s.out.buf = nil // it waits for long
		end := s.idle.wait(s.number)
		if end == nil {
			return nil
		}
		if others = nil; s.follower != nil {
			others = s.follower.news
		}
		select {
		case <-home:
		case <-selected:
		case <-others:
		case <-end:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// news tells what is new of the selected mailbox, and elsewhere.
func (s *Session) news(ctx context.Context, u update) error {
	s.work(s.base())
	if err := s.sync(ctx, u); err != nil {
		return err
	}
	if err := s.announceReset(ctx); err != nil {
		return err
	}
	if err := s.tellEvents(ctx); err != nil {
		return err
	}
	if err := s.tellOthers(); err != nil {
		return err
	}
	s.work(s.base())
	return nil
}
