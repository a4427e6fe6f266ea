package imapd

import (
	"context"
	"errors"
	"strings"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// realName is a name without the separator at its end, by which a client says
// that names below it will follow (RFC 9051 6.3.4).
func realName(name string) string {
	return strings.TrimSuffix(name, mail.Separator)
}

// create is CREATE, with USE of RFC 6154.
func (s *Session) create(ctx context.Context, _ *imapwire.Command, a *imapwire.Create) (answer, error) {
	name, err := s.enterNew(ctx, a.Mailbox)
	if err != nil {
		return answer{}, err
	}
	if a.Use != "" && s.at.away() {
		return no(imapwire.CodeUseAttr, "Special uses are the owner's to set"), nil
	}
	res, err := s.do(ctx, 0, mail.Create{Name: name, Use: a.Use})
	if err != nil {
		return answer{}, err
	}
	if a.Given != "" {
		if err := s.newEntry(ctx, name, a.Given); err != nil {
			return answer{}, err
		}
	}
	return okCode("MAILBOXID ("+res.Mailbox.String()+")", "CREATE completed"), nil
}

// deleteMailbox is DELETE. A session that deletes the mailbox it has selected
// returns to the authenticated state.
func (s *Session) deleteMailbox(ctx context.Context, _ *imapwire.Command, a *imapwire.Delete) (answer, error) {
	name, err := s.enterOld(ctx, a.Mailbox)
	if err != nil {
		return answer{}, err
	}
	if _, err := s.do(ctx, 0, mail.Delete{Name: name}); err != nil {
		return answer{}, err
	}
	if s.box == nil {
		return ok("DELETE completed"), nil
	}
	if s.at != s.box.at {
		return ok("DELETE completed"), nil
	}
	v, err := s.current(ctx)
	if err != nil {
		return answer{}, err
	}
	if _, err := v.Mailbox(s.box.id); errors.Is(err, mail.ErrNoMailbox) {
		s.leave()
	}
	return ok("DELETE completed"), nil
}

// rename is RENAME.
func (s *Session) rename(ctx context.Context, _ *imapwire.Command, a *imapwire.Rename) (answer, error) {
	from, err := s.enterOld(ctx, a.From)
	if err != nil {
		return answer{}, err
	}
	owner := s.at.owner
	to, err := s.enterNew(ctx, a.To)
	if err != nil {
		return answer{}, err
	}
	if s.at.owner != owner { // it would be another mailbox, with copies
		return answer{}, mail.ErrCannot
	}
	if _, err = s.do(ctx, 0, mail.Rename{From: from, To: to}); err != nil {
		return answer{}, err
	}
	if from == mail.Inbox { // which keeps its name, and another mailbox has its messages
		return ok("RENAME completed"), nil
	}
	return ok("RENAME completed"), s.newEntry(ctx, to, s.at.prefix+from)
}

// subscribe is SUBSCRIBE and UNSUBSCRIBE. The list is the user's own, whatever it names.
func (s *Session) subscribe(ctx context.Context, c *imapwire.Command, a *imapwire.Subscribe) (answer, error) {
	s.work(&s.home)
	name, err := s.oldName(ctx, realName(a.Mailbox))
	if err != nil {
		return answer{}, err
	}
	_, err = s.do(ctx, 0, mail.Subscribe{Name: name, On: a.On})
	return ok(c.Name + " completed"), err
}

// namespace is NAMESPACE (RFC 2342): one's own mailboxes, those of others, and shared ones.
func (s *Session) namespace(context.Context, *imapwire.Command) (answer, error) {
	namespace := func(prefix string) string { return `(("` + prefix + `" "` + mail.Separator + `"))` }
	others, shared := "NIL", "NIL"
	if s.cfg.Others != nil {
		others, shared = namespace(otherUsers+mail.Separator), namespace(sharedNames+mail.Separator)
	}
	s.out.untagged("NAMESPACE " + namespace("") + " " + others + " " + shared)
	return ok("NAMESPACE completed"), nil
}
