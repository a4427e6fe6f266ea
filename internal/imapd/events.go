package imapd

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// beginFollowing has what happens from now on looked at, if it was not so far.
func (s *Session) beginFollowing(ctx context.Context) error {
	if s.follows() {
		return nil
	}
	s.work(&s.home)
	v, err := s.current(ctx)
	if err != nil {
		return err
	}
	account, err := v.Account()
	if err != nil {
		return err
	}
	s.notified, s.own = account.ModSeq, nil
	s.out.delta.Merge(session.Delta{NotifySeq: &account.ModSeq})
	return nil
}

// tellEvents tells what has happened beside the selected mailbox since it was last
// looked at, and was asked for. It costs what has happened.
func (s *Session) tellEvents(ctx context.Context) error {
	if !s.follows() {
		return nil
	}
	s.work(&s.home)
	v, err := s.current(ctx)
	if err != nil {
		return err
	}
	account, err := v.Account()
	if err != nil || account.ModSeq == s.notified {
		return err
	}
	before := len(s.out.buf)
	switch err := s.tellSince(v, s.notified); {
	case errors.Is(err, mail.ErrBelowFloor):
		s.out.buf = s.out.buf[:before]
		if s.notify == nil {
			break // whoever only enabled METADATA was promised no more
		}
		s.overflow()
	case err != nil:
		return err
	}
	own := len(s.own) > 0
	s.notified, s.own = account.ModSeq, nil
	if own || len(s.out.buf) > before {
		s.out.delta.Merge(session.Delta{NotifySeq: &account.ModSeq})
	}
	return nil
}

func (s *Session) tellSince(v mail.View, since mail.ModSeq) error {
	t := teller{Session: s, v: atHome{v}, own: s.own}
	return t.since(since)
}

// since tells what has happened.
func (t *teller) since(since mail.ModSeq) error {
	for e, err := range t.v.Events(since) {
		if err == nil && !slices.Contains(t.own, e.ModSeq) {
			err = t.event(&e)
		}
		if err != nil {
			return err
		}
	}
	if t.notify == nil {
		return nil
	}
	for m, err := range t.v.Changed(since) {
		if err == nil && (t.box == nil || m.ID != t.box.id) {
			err = t.messages(&m, since)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// teller is one look at what has happened.
type teller struct {
	*Session
	v     source
	away  bool          // in another user's account
	own   []mail.ModSeq // what the session has done itself
	names names         // all there are; nil: not looked at yet
}

// source is where a teller reads, as of a View.
type source interface {
	nameSource
	Events(since mail.ModSeq) iter.Seq2[mail.Event, error]
	Changed(since mail.ModSeq) iter.Seq2[mail.MailboxInfo, error]
	Mailbox(id mail.MailboxID) (mail.MailboxInfo, error)
	// onlyFlags reports whether no message came or went after since.
	onlyFlags(m *mail.MailboxInfo, since mail.ModSeq) (bool, error)
}

// atHome is the session's own account as a source.
type atHome struct{ mail.View }

func (v atHome) onlyFlags(m *mail.MailboxInfo, since mail.ModSeq) (bool, error) {
	return onlyFlags(v.View, m, since)
}

// event tells one event if it was asked for.
func (t *teller) event(e *mail.Event) error {
	switch e.Kind {
	case mail.MetadataChanged:
		return t.metadata(e)
	case mail.RightsChanged:
		return t.rights(e)
	case mail.MailboxCreated:
		return t.list(imapwire.MailboxName, e.NewName, parentOf(e.NewName))
	case mail.MailboxDeleted:
		return t.list(imapwire.MailboxName, e.Name, parentOf(e.Name))
	case mail.MailboxRenamed:
		return t.renamed(e.Name, e.NewName)
	case mail.Subscribed:
		return t.subscribed(e.NewName)
	case mail.Unsubscribed:
		return t.subscribed(e.Name)
	}
	return nil
}

// subscribed tells that a name is subscribed now, or not any more.
func (t *teller) subscribed(name string) error {
	if left, err := t.leaveToFollower(name); left || err != nil {
		return err
	}
	return t.list(imapwire.SubscriptionChange, name)
}

// parentOf is the name above, "" if there is none.
func parentOf(name string) string {
	return name[:max(0, strings.LastIndex(name, mail.Separator))]
}

// wants reports whether an event of a name was asked for.
func (t *teller) wants(event imapwire.Events, name string) (bool, error) {
	if t.notify == nil {
		return false, nil
	}
	e, err := t.entry(name)
	return err == nil && t.eventsOf(name, e.subscribed)&event != 0, err
}

// entry is what LIST knows of a name.
func (t *teller) entry(name string) (*entry, error) {
	if t.names == nil {
		all, err := t.namesIn(t.v)
		if err != nil {
			return nil, err
		}
		_ = all.sorted() // which adds the names above
		t.names = all
	}
	if e := t.names[name]; e != nil {
		return e, nil
	}
	return &entry{MailboxInfo: mail.MailboxInfo{Name: name, NonExistent: true}}, nil
}

// list writes a LIST response for each of the names that is asked for.
func (t *teller) list(event imapwire.Events, names ...string) error {
	for _, name := range names {
		if name == "" {
			continue
		}
		ok, err := t.wants(event, name)
		if err != nil {
			return err
		}
		if ok {
			if err := t.line(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *teller) line(name string) error {
	e, err := t.entry(name)
	if err == nil {
		t.listLine("LIST", e, listAttributes(&imapwire.List{Return: imapwire.ListSubscribed}, e))
	}
	return err
}

func (t *teller) renamed(from, to string) error {
	before, err := t.wants(imapwire.MailboxName, from)
	if err != nil {
		return err
	}
	after, err := t.wants(imapwire.MailboxName, to)
	if err != nil || !before && !after {
		return err
	}
	if err := t.line(to); err != nil {
		return err
	}
	b := append(t.out.buf[:len(t.out.buf)-2], " (\"OLDNAME\" ("...)
	t.out.buf = append(t.appendName(b, from), "))\r\n"...)
	return nil
}

// rights tells that a mailbox can be seen now, or that what was asked for of it cannot be
// told any more.
func (t *teller) rights(e *mail.Event) error {
	if t.notify == nil {
		return nil
	}
	info, err := t.v.Mailbox(e.Mailbox)
	if err != nil && !errors.Is(err, mail.ErrNoMailbox) {
		return err
	}
	name := e.Name
	if err == nil {
		name = info.Name
	}
	events, needs := t.eventsOf(name, info.Subscribed), mail.MayLookup
	if events&imapwire.MessageEvents != 0 {
		needs = readable
	}
	switch lost := needs &^ info.Rights; {
	case events&(imapwire.MessageEvents|imapwire.MailboxName) == 0:
	case e.Was&lost != 0:
		t.noAccess(e.Name)
	case lost == 0 && e.Was&mail.MayLookup == 0:
		return t.list(imapwire.MailboxName, name)
	}
	return nil
}

// noAccess tells that nothing more is told of a mailbox, or of its messages.
func (t *teller) noAccess(name string) {
	t.listLine("LIST", &entry{MailboxInfo: mail.MailboxInfo{Name: name}}, []string{`\NoAccess`})
}

// metadata tells which entries changed, without their values (RFC 5464 4.4.2).
func (t *teller) metadata(e *mail.Event) error {
	name := ""
	wanted := t.enabled&session.MetadataServer != 0
	if !e.Mailbox.IsZero() {
		info, err := t.v.Mailbox(e.Mailbox)
		if errors.Is(err, mail.ErrNoMailbox) {
			return nil
		}
		if err != nil {
			return err
		}
		if !info.Rights.Annotates() {
			return nil
		}
		name, wanted = info.Name, t.enabled&session.Metadata != 0
		if t.notify != nil {
			wanted = t.eventsOf(info.Name, info.Subscribed)&imapwire.MailboxMetadataChange != 0
		}
	} else if t.notify != nil {
		wanted = slices.ContainsFunc(t.notify.Groups, func(g imapwire.EventGroup) bool {
			return g.Events&imapwire.ServerMetadataChange != 0
		})
	}
	if !wanted {
		return nil
	}
	b := t.appendName(append(t.out.buf, "* METADATA "...), name)
	for _, entry := range e.Entries {
		b = imapwire.AppendAString(append(b, ' '), entry)
	}
	t.out.buf = append(b, "\r\n"...)
	return nil
}

// messages tells of changes in a mailbox that is not selected.
func (t *teller) messages(m *mail.MailboxInfo, since mail.ModSeq) error {
	events := t.eventsOf(m.Name, m.Subscribed) & imapwire.MessageEvents
	if events == 0 || !m.Rights.Has(readable) || m.UIDNext == 1 || allOwn(t.own, since, m.HighestModSeq) {
		return nil // without any message it is new
	}
	items := []imapwire.StatusItem{imapwire.StatusMessages, imapwire.StatusUIDNext, imapwire.StatusUIDValidity}
	if events&imapwire.FlagChange != 0 {
		items = append(items, imapwire.StatusUnseen)
	} else if other, err := t.v.onlyFlags(m, since); other || err != nil {
		return err
	}
	if t.condStore() {
		items = append(items, imapwire.StatusHighestModSeq)
	}
	return t.statusLine(nil, m, items) // which needs no View for these
}

// allOwn reports whether all changes of an account after since up to and with the last
// are a session's own, which knows of them.
func allOwn(own []mail.ModSeq, since, last mail.ModSeq) bool {
	if last-since > mail.ModSeq(len(own)) {
		return false
	}
	for at := since + 1; at <= last; at++ {
		if !slices.Contains(own, at) {
			return false
		}
	}
	return true
}

// onlyFlags reports whether no message came or went after since.
func onlyFlags(v mail.View, m *mail.MailboxInfo, since mail.ModSeq) (bool, error) {
	for _, err := range v.Expunged(m.ID, since) {
		if errors.Is(err, mail.ErrBelowFloor) {
			err = nil
		}
		return false, err
	}
	// Whatever came last is there, or its going would have been told before.
	last, err := v.Message(m.ID, m.UIDNext-1)
	if errors.Is(err, mail.ErrNoMessage) {
		return true, nil
	}
	return last.Created <= since, err
}
