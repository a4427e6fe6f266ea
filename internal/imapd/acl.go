package imapd

import (
	"context"
	"errors"
	"strings"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// Access control lists (RFC 4314). The account decides what a user may do with a
// mailbox, each time it does something; what is asked here is what the account cannot
// know: which right a question needs, and who a name is.

// anyone is the identifier of everybody who has come in.
const anyone = "anyone"

// changing are the rights without which a mailbox is read-only.
const changing = mail.MaySeen | mail.MayWrite | mail.MayInsert | mail.MayDeleteMail | mail.MayExpunge

// errNoUser: an identifier is nobody's.
var errNoUser = errors.New("no such user")

// need refuses a user who lacks one of these rights. To those who may not look a
// mailbox up there is none.
func need(info *mail.MailboxInfo, rights mail.Rights) error {
	switch {
	case info.Rights.Has(rights):
		return nil
	case info.Rights.Has(mail.MayLookup):
		return mail.ErrNoPerm
	}
	return mail.ErrNoMailbox
}

// setACL is SETACL and DELETEACL. That a user was granted something is noted where he
// looks for it before it is granted: noted in vain, it costs him a question.
func (s *Session) setACL(ctx context.Context, c *imapwire.Command, a *imapwire.SetACL) (answer, error) {
	_, info, owner, err := s.administered(ctx, a.Mailbox)
	if err != nil {
		return answer{}, err
	}
	who, err := s.identified(ctx, a.Identifier, owner)
	if err != nil {
		return answer{}, err
	}
	s.closeView()
	foreign := who != owner && s.cfg.Others != nil
	if foreign && a.Mode != mail.DeleteGrant && a.Rights != 0 && a.Mode != mail.RemoveRights {
		if err := s.cfg.Others.Granted(ctx, owner, who, true); err != nil {
			return answer{}, err
		}
	}
	if _, err := s.do(ctx, 0, mail.SetACL{Mailbox: info.ID, User: who, Mode: a.Mode, Rights: a.Rights}); err != nil {
		return answer{}, err
	}
	if foreign {
		s.settle(ctx, owner, who)
	}
	return ok(c.Name + " completed"), nil
}

// settle notes whether a user is still granted anything; twice, because another session
// may have granted something meanwhile. If it cannot be noted he is asked for in vain.
func (s *Session) settle(ctx context.Context, owner, who mail.AccountID) {
	for range 2 {
		any, err := s.granted(ctx, who)
		s.closeView()
		if err == nil {
			err = s.cfg.Others.Granted(ctx, owner, who, any)
		}
		if err != nil {
			s.log.Warn("directory may not say right who was granted something", "err", err)
			return
		}
	}
}

// granted reports whether a mailbox is granted to a user, or to anyone, by name.
func (s *Session) granted(ctx context.Context, who mail.AccountID) (bool, error) {
	v, err := s.current(ctx)
	if err != nil {
		return false, err
	}
	return mail.Granted(v, who)
}

// administered finds a mailbox whose rights the user may see and change, and its owner.
func (s *Session) administered(ctx context.Context, name string) (mail.View, mail.MailboxInfo, mail.AccountID, error) {
	v, info, err := s.lookup(ctx, name)
	if err == nil {
		err = need(&info, mail.MayAdmin)
	}
	if err != nil {
		return nil, info, mail.AccountID{}, err
	}
	account, err := v.Account()
	return v, info, account.ID, err
}

// identified is who an identifier means, zero for anyone. Negative rights (RFC 4314 2)
// there are none.
func (s *Session) identified(ctx context.Context, identifier string, owner mail.AccountID) (mail.AccountID, error) {
	var id mail.AccountID
	switch {
	case identifier == anyone:
		return id, nil
	case identifier == "" || strings.HasPrefix(identifier, "-"):
		return id, errNoUser
	case id.UnmarshalText([]byte(identifier)) == nil:
		return id, nil // as it is shown when it has no name
	case s.cfg.Others == nil && identifier == s.cfg.User:
		return owner, nil
	case s.cfg.Others == nil:
		return id, errNoUser
	}
	id, err := s.cfg.Others.User(ctx, identifier)
	if errors.Is(err, mail.ErrNoAccount) {
		err = errNoUser
	}
	return id, err
}

// identifier is by what name a user is shown: one that is no user's any more by the
// account's id.
func (s *Session) identifier(ctx context.Context, id mail.AccountID) (string, error) {
	switch {
	case id.IsZero():
		return anyone, nil
	case s.cfg.Others == nil:
		return id.String(), nil
	}
	name, _, err := s.cfg.Others.Name(ctx, id)
	if errors.Is(err, mail.ErrNoAccount) {
		return id.String(), nil
	}
	return name, err
}

// ownerName is the owner of an account that the session is in.
func (s *Session) ownerName(ctx context.Context, id mail.AccountID) (string, error) {
	if s.cfg.Others == nil {
		return s.cfg.User, nil
	}
	return s.identifier(ctx, id)
}

// getACL is GETACL. The owner comes first, whether or not his rights were changed.
func (s *Session) getACL(ctx context.Context, _ *imapwire.Command, a *imapwire.GetACL) (answer, error) {
	v, info, owner, err := s.administered(ctx, a.Mailbox)
	if err != nil {
		return answer{}, err
	}
	list, err := v.ACL(info.ID)
	if err != nil {
		return answer{}, err
	}
	name, err := s.ownerName(ctx, owner)
	if err != nil {
		return answer{}, err
	}
	b := append(s.out.buf, "* ACL "...)
	b = s.appendName(b, info.Name)
	b = appendGrant(b, name, mail.RightsOf(mail.OnlyOf(list, owner), owner, true))
	for _, g := range list {
		if g.User == owner {
			continue
		}
		if name, err = s.identifier(ctx, g.User); err != nil {
			return answer{}, err
		}
		b = appendGrant(b, name, g.Rights)
	}
	s.out.buf = append(b, "\r\n"...)
	return ok("GETACL completed"), nil
}

func appendGrant(b []byte, identifier string, r mail.Rights) []byte {
	b = imapwire.AppendAString(append(b, ' '), identifier)
	return appendRights(append(b, ' '), r)
}

// appendRights appends rights with the names that older clients know: c where there is
// one of kx, d where there is one of te (RFC 4314 2.1.1).
func appendRights(b []byte, r mail.Rights) []byte {
	text := r.String()
	if r&(mail.MayCreate|mail.MayDelete) != 0 {
		text += "c"
	}
	if r&(mail.MayDeleteMail|mail.MayExpunge) != 0 {
		text += "d"
	}
	return imapwire.AppendAString(b, text)
}

// listRights is LISTRIGHTS: no right depends on another, and an owner keeps l and a.
func (s *Session) listRights(ctx context.Context, _ *imapwire.Command, a *imapwire.ListRights) (answer, error) {
	_, info, owner, err := s.administered(ctx, a.Mailbox)
	if err != nil {
		return answer{}, err
	}
	who, err := s.identified(ctx, a.Identifier, owner)
	if err != nil {
		return answer{}, err
	}
	b := append(s.out.buf, "* LISTRIGHTS "...)
	b = append(s.appendName(b, info.Name), ' ')
	b = append(imapwire.AppendAString(b, a.Identifier), ' ')
	always := mail.Rights(0)
	if who == owner {
		always = mail.OwnersRights
	}
	b = imapwire.AppendAString(b, always.String())
	for _, letter := range (mail.AllRights &^ always).String() + "cd" {
		b = append(b, ' ', byte(letter))
	}
	s.out.buf = append(b, "\r\n"...)
	return ok("LISTRIGHTS completed"), nil
}

// myRights is MYRIGHTS.
func (s *Session) myRights(ctx context.Context, _ *imapwire.Command, a *imapwire.GetACL) (answer, error) {
	_, info, err := s.lookup(ctx, a.Mailbox)
	if err != nil {
		return answer{}, err
	}
	if !mayAskRights(&info) {
		return answer{}, mail.ErrNoMailbox
	}
	s.myRightsLine(&info)
	return ok("MYRIGHTS completed"), nil
}

// mayAskRights reports whether the user has one of the rights that MYRIGHTS needs
// (RFC 4314 4).
func mayAskRights(info *mail.MailboxInfo) bool {
	return info.Rights&(mail.MayLookup|mail.MayRead|mail.MayInsert|mail.MayCreate|mail.MayDelete|mail.MayAdmin) != 0
}

func (s *Session) myRightsLine(info *mail.MailboxInfo) {
	b := s.appendName(append(s.out.buf, "* MYRIGHTS "...), info.Name)
	s.out.buf = append(appendRights(append(b, ' '), info.Rights), "\r\n"...)
}
