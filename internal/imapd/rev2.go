package imapd

import (
	"context"
	"errors"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// IMAP4rev2 (RFC 9051) differs from rev1 where a client enabled it: names are UTF-8,
// there is no \Recent and no UNSEEN in SELECT, SEARCH is answered by ESEARCH, SELECT
// shows the mailbox by a LIST response, and one whose name became another says so.

func (s *Session) rev2() bool { return s.enabled&session.Rev2 != 0 }

// utf8 reports whether the client takes UTF-8 in what is told of messages.
func (s *Session) utf8() bool { return s.enabled&session.UTF8 != 0 }

// utf8Names reports whether mailbox names are UTF-8 instead of modified UTF-7.
func (s *Session) utf8Names() bool { return s.enabled&(session.UTF8|session.Rev2) != 0 }

// enableRev2 forgets what rev2 does not have.
func (s *Session) enableRev2() {
	if s.box != nil && len(s.box.told.Recent) > 0 {
		s.box.told.Recent = nil
		s.out.delta.Announced = s.box.announced()
	}
}

// selectedName is the LIST response of SELECT (RFC 9051 6.3.2).
func (s *Session) selectedName(ctx context.Context, info *mail.MailboxInfo, given string) error {
	if !s.rev2() {
		return nil
	}
	return s.showEntry(ctx, info.ID, info.Name, given)
}

// newEntry is the LIST response for a mailbox whose name became another one, to
// clients that know OLDNAME (RFC 9051 6.3.9.7). name is as its account has it.
func (s *Session) newEntry(ctx context.Context, name, old string) error {
	if !s.rev2() {
		return nil
	}
	v, err := s.current(ctx)
	if err != nil {
		return err
	}
	info, err := v.Lookup(name)
	if errors.Is(err, mail.ErrNoMailbox) { // a component of others' names
		return s.showEntry(ctx, mail.MailboxID{}, s.at.prefix+name, old)
	}
	if err != nil {
		return err
	}
	return s.showEntry(ctx, info.ID, s.at.prefix+name, old)
}

// showEntry writes a LIST response for a mailbox by the name given, with OLDNAME if
// old is not empty. Nothing if it has just gone.
func (s *Session) showEntry(ctx context.Context, id mail.MailboxID, name, old string) error {
	p := s.at
	s.work(&s.home)
	all, err := s.ownNames(ctx)
	s.work(p)
	if err == nil && p.away() {
		err = s.addPlace(ctx, all)
	}
	if err != nil {
		return err
	}
	for _, e := range all.sorted() {
		if e.ID != id || id.IsZero() && e.Name != name {
			continue
		}
		shown := *e
		shown.Name = name
		s.listLine("LIST", &shown, listAttributes(&imapwire.List{Return: imapwire.ListSubscribed}, e))
		if old != "" {
			b := append(s.out.buf[:len(s.out.buf)-2], ` ("OLDNAME" (`...)
			s.out.buf = append(s.appendName(b, old), "))\r\n"...)
		}
		return nil
	}
	return nil
}
