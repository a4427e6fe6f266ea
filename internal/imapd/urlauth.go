package imapd

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// URLs that a user has authorised (RFC 4467) give others his right to read one message,
// or a part of it. The proof is made with a key that the user's account has for the
// mailbox: nobody is shown it, and without it the proof can be neither made nor checked.

// tokenHMAC is the first octet of a token: how the rest of it is made.
const tokenHMAC = 1

// urlToken is the proof that the owner of key has authorised a URL.
func urlToken(key []byte, u *imapwire.AuthURL) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte{tokenHMAC})
	mac.Write([]byte(u.Rump))
	return mac.Sum([]byte{tokenHMAC})
}

// proven reports whether a URL has the proof that key makes. It takes as long without a
// key, which proves nothing.
func proven(key []byte, u *imapwire.AuthURL) bool {
	there := len(key) == mail.AccessKeySize
	if !there {
		key = make([]byte, mail.AccessKeySize)
	}
	return hmac.Equal(u.Token, urlToken(key, u)) && there
}

// genURLAuth is GENURLAUTH. A URL that cannot be authorised is BAD (RFC 4467 7).
func (s *Session) genURLAuth(ctx context.Context, c *imapwire.Command, a *imapwire.GenURLAuth) (answer, error) {
	line := []byte("* GENURLAUTH")
	for i, r := range a.Rumps {
		u, err := imapwire.ParseAuthURL(r.URL)
		switch {
		case r.Mechanism != imapwire.MechanismInternal:
			return bad("INTERNAL is the only mechanism"), nil
		case err != nil || u.Mechanism != "":
			return bad("Not a URL of a message with URLAUTH and without a token"), nil
		}
		key, err := s.keyFor(ctx, i, &u)
		switch {
		case errors.Is(err, errNotOwn):
			return bad("URL is not one of this user's"), nil
		case errors.Is(err, mail.ErrNoMailbox):
			return bad("URL names no mailbox that this user may read"), nil
		case err != nil:
			return answer{}, err
		}
		line = append(line, ' ')
		line = imapwire.AppendString(line, u.Authorised(r.Mechanism, urlToken(key, &u)))
	}
	s.out.buf = append(append(s.out.buf, line...), "\r\n"...)
	return ok(c.Name + " completed"), nil
}

var errNotOwn = errors.New("URL of another user")

// keyFor is the user's key for the mailbox of a URL. It is made if there is none.
// errNotOwn, mail.ErrNoMailbox.
func (s *Session) keyFor(ctx context.Context, chunk int, u *imapwire.AuthURL) ([]byte, error) {
	me, err := s.myself(ctx)
	if err != nil {
		return nil, err
	}
	user, err := s.urlUser(ctx, u.User, u.Host)
	if errors.Is(err, mail.ErrNoAccount) || err == nil && user != me {
		err = errNotOwn
	}
	if err != nil {
		return nil, err
	}
	_, info, err := s.lookup(ctx, u.Mailbox)
	if err == nil {
		err = need(&info, mail.MayRead)
	}
	if errors.Is(err, mail.ErrNoPerm) || err == nil && u.UIDValidity != 0 && u.UIDValidity != info.UIDValidity {
		err = mail.ErrNoMailbox
	}
	if err != nil {
		return nil, s.excuse(ctx, err)
	}
	s.work(&s.home)
	for range 2 {
		v, err := s.current(ctx)
		if err != nil {
			return nil, err
		}
		if key, err := v.AccessKey(info.ID); err != nil || key != nil {
			return key, err
		}
		if _, err := s.do(ctx, chunk, mail.SetAccess{Mailbox: info.ID}); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("key of mailbox %v is removed as it is made: %w", info.ID, mail.ErrFrozen)
}

// resetKey is RESETKEY. The mailbox has no key until it needs one again.
func (s *Session) resetKey(ctx context.Context, c *imapwire.Command, a *imapwire.ResetKey) (answer, error) {
	for _, m := range a.Mechanisms {
		if m != imapwire.MechanismInternal {
			return no(imapwire.CodeCannot, "INTERNAL is the only mechanism"), nil
		}
	}
	op := mail.SetAccess{Drop: true}
	if !a.All {
		_, info, err := s.lookup(ctx, a.Mailbox)
		if err == nil && !info.Rights.Has(mail.MayLookup) {
			err = need(&info, mail.MayRead)
		}
		if err != nil {
			return answer{}, err
		}
		op.Mailbox = info.ID
	}
	s.work(&s.home)
	if _, err := s.do(ctx, 0, op); err != nil {
		return answer{}, err
	}
	if a.All {
		return ok("All keys removed"), nil
	}
	if s.box != nil && s.box.id == op.Mailbox {
		s.box.keyKnown = false // the answer says it
	}
	return okCode(imapwire.CodeURLMech, c.Name+" completed"), nil
}

// keySum stands for a key; zero for none.
type keySum [sha256.Size]byte

// announceReset tells that the user's key for the selected mailbox was removed, by
// whichever session of his (RFC 4467 7). It says nothing of a removal that it has not
// seen the key before: by then another one may be in its place.
func (s *Session) announceReset(ctx context.Context) error {
	b := s.box
	if b == nil {
		return nil
	}
	s.work(&s.home)
	v, err := s.current(ctx)
	if err != nil {
		return err
	}
	key, err := v.AccessKey(b.id)
	if err != nil {
		return err
	}
	now := keySum{}
	if key != nil {
		now = sha256.Sum256(key)
	}
	if b.keyKnown && b.key != now && b.key != (keySum{}) {
		s.out.status(imapwire.CodeURLMech, "Key was removed: URLs authorised before are not any more")
	}
	b.key, b.keyKnown = now, true
	return nil
}

// myself is the session's own account.
func (s *Session) myself(ctx context.Context) (mail.AccountID, error) {
	s.work(&s.home)
	v, err := s.current(ctx)
	if err != nil {
		return mail.AccountID{}, err
	}
	account, err := v.Account()
	return account.ID, err
}

// urlUser is who a URL means by a user: without a domain, that of the URL's host will
// do. mail.ErrNoAccount: nobody.
func (s *Session) urlUser(ctx context.Context, name, host string) (mail.AccountID, error) {
	names := []string{name}
	if !strings.Contains(name, "@") {
		names = append(names, name+"@"+host)
	}
	for _, n := range names {
		switch {
		case s.cfg.Others == nil && n == s.cfg.User:
			return s.myself(ctx)
		case s.cfg.Others == nil:
			continue
		}
		if id, err := s.cfg.Others.User(ctx, n); !errors.Is(err, mail.ErrNoAccount) {
			return id, err
		}
	}
	return mail.AccountID{}, mail.ErrNoAccount
}
