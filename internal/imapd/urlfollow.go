package imapd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

const (
	// urlTime is how long a command waits for accounts of other users that URLs lead to,
	// for all of them.
	urlTime = 10 * time.Second
	// urlOwnerTime is the same for one.
	urlOwnerTime = 3 * time.Second
)

// errInvalid: a URL gives nothing. Why is for the log.
var errInvalid = errors.New("URL is not valid")

func invalid(why string) error { return fmt.Errorf("%w: %s", errInvalid, why) }

// followed is what a command knows of the accounts that its URLs lead to.
type followed struct {
	waited time.Duration
	lost   map[mail.AccountID]error // did not answer
}

// followURL finds the message of an authorised URL, and stays in its account, which is that
// of the URL's user or one in which he may read. The session's user needs no right of his
// own. errInvalid, errAway; errors of the session's own account are as they are.
func (s *Session) followURL(ctx context.Context, text string) (msg mail.Message, u imapwire.AuthURL, err error) {
	u, err = imapwire.ParseAuthURL(text)
	switch {
	case err != nil:
		return msg, u, fmt.Errorf("%w: %w", errInvalid, err)
	case u.Mechanism != imapwire.MechanismInternal:
		return msg, u, invalid("it was not authorised")
	case !u.Expires.IsZero() && !s.cfg.Now().Before(u.Expires):
		return msg, u, invalid("it has expired")
	}
	me, err := s.myself(ctx)
	if err != nil {
		return msg, u, err
	}
	if err := s.mayFollow(ctx, me, &u); err != nil {
		return msg, u, err
	}
	owner, err := s.urlUser(ctx, u.User, u.Host)
	if errors.Is(err, mail.ErrNoAccount) {
		err = invalid("it is nobody's")
	}
	if err != nil {
		return msg, u, err
	}
	info, of, err := s.urlMailbox(ctx, me, owner, u.Mailbox)
	if err != nil && !errors.Is(err, errInvalid) {
		return msg, u, err
	}
	why := err
	key, err := s.urlKey(ctx, me, of, owner, info.ID)
	if err != nil {
		return msg, u, err
	}
	switch genuine := proven(key, &u); {
	case why != nil:
		return msg, u, why
	case !genuine:
		return msg, u, invalid("its proof is wrong, or was revoked")
	case u.UIDValidity != 0 && u.UIDValidity != info.UIDValidity:
		return msg, u, invalid("its UIDVALIDITY is another one")
	}
	if of != owner {
		err = s.reach(ctx, me, of, owner)
	}
	var v mail.View
	if err == nil {
		v, err = s.current(ctx)
	}
	if err == nil {
		msg, err = v.Message(info.ID, u.UID)
	}
	if errors.Is(err, mail.ErrNoMessage) || errors.Is(err, mail.ErrNoMailbox) {
		err = invalid("there is no such message")
	}
	return msg, u, err
}

// mayFollow refuses a session that a URL is not for. Who may submit or stream for others
// is who may act for others, and came in so.
func (s *Session) mayFollow(ctx context.Context, me mail.AccountID, u *imapwire.AuthURL) error {
	acts := s.cfg.By != "" && s.cfg.By != s.cfg.User
	switch u.Access {
	case imapwire.AccessAnonymous, imapwire.AccessAuthUser: // there are no other sessions
		return nil
	case imapwire.AccessStream:
		if acts {
			return nil
		}
	case imapwire.AccessUser, imapwire.AccessSubmit:
		user, err := s.urlUser(ctx, u.For, u.Host)
		switch {
		case err != nil && !errors.Is(err, mail.ErrNoAccount):
			return err
		case err == nil && user == me && (acts || u.Access == imapwire.AccessUser):
			return nil
		}
	}
	return invalid("it is for somebody else")
}

// urlMailbox finds a mailbox as the user of a URL calls it, if he may read it, and whose
// it is. errInvalid.
func (s *Session) urlMailbox(ctx context.Context, me, owner mail.AccountID, name string) (info mail.MailboxInfo, of mail.AccountID, err error) {
	of, local := owner, name
	if _, rest, foreign := s.foreign(name); foreign {
		if of, local, err = s.namedOwner(ctx, rest); errors.Is(err, mail.ErrNoAccount) || err == nil && of == owner {
			return info, of, invalid("there is no such mailbox")
		}
	}
	if err == nil {
		err = s.reach(ctx, me, of, owner)
	}
	if err != nil {
		return info, of, err
	}
	v, err := s.current(ctx)
	if err == nil {
		info, err = v.Lookup(local)
	}
	if err == nil {
		err = need(&info, mail.MayRead)
	}
	switch {
	case errors.Is(err, mail.ErrNoMailbox), errors.Is(err, mail.ErrNoPerm), err == nil && info.NonExistent:
		return mail.MailboxInfo{}, of, invalid("there is no such mailbox")
	}
	return info, of, err
}

// urlKey is the key of a user for a mailbox, nil if there is none. His account is at hand
// if the mailbox is his.
func (s *Session) urlKey(ctx context.Context, me, of, owner mail.AccountID, m mail.MailboxID) ([]byte, error) {
	if of != owner || m.IsZero() {
		if err := s.reach(ctx, me, owner, owner); err != nil {
			return nil, err
		}
	}
	v, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	return v.AccessKey(m)
}

// reach goes to an account as a user finds it who need not be the session's, and opens a
// View. errInvalid: there is no such account. errAway: it does not answer in time.
func (s *Session) reach(ctx context.Context, me, of, user mail.AccountID) error {
	if of == me && user == me {
		s.work(&s.home)
		return nil
	}
	if of == me {
		s.work(&place{account: s.cfg.Account.As(user)})
		return nil
	}
	if err := s.urls.lost[of]; err != nil {
		return err
	}
	left := min(urlOwnerTime, urlTime-s.urls.waited)
	if left <= 0 {
		return fmt.Errorf("%w: others have taken all the time there is", errAway)
	}
	began := s.cfg.Now()
	asking, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	account, err := s.cfg.Others.OpenAs(asking, of, user)
	if err == nil {
		s.work(&place{account: account, owner: of})
		_, err = s.current(asking)
	}
	s.urls.waited += max(0, s.cfg.Now().Sub(began))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, mail.ErrNoAccount):
		return invalid("its account is no more")
	case ctx.Err() != nil:
		return err
	}
	err = fmt.Errorf("%w: %v", errAway, err) // whatever it was, it is none of the session
	if s.urls.lost == nil {
		s.urls.lost = map[mail.AccountID]error{}
	}
	s.urls.lost[of] = err
	return err
}
