package imapd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
)

// Mailboxes of other accounts have names too (RFC 2342): "Other Users/", or "Shared/" if
// the account is no person's; the owner's name; and the mailbox's name as it is there. A
// command works in one account at a time: in that of the mailbox it names, else in that of
// the selected one, else at home.

// What is above all names of other users' mailboxes, and of those that are nobody's own.
const (
	otherUsers  = "Other Users"
	sharedNames = "Shared"
)

// prefixOf is what the names of an account's mailboxes begin with, for all but its owner.
func prefixOf(owner string, shared bool) string {
	top := otherUsers
	if shared {
		top = sharedNames
	}
	return top + mail.Separator + owner + mail.Separator
}

// errAway: another user's account cannot be asked now.
var errAway = errors.New("account of another user cannot be reached")

// place is an account as the session's user finds it.
type place struct {
	account mail.Account
	owner   mail.AccountID // zero: the user's own
	prefix  string         // of its mailboxes' names
	fork    uint64         // of another user's account, as it was found first
	found   bool           // fork is known
}

// away reports whether the account is another user's.
func (p *place) away() bool { return !p.owner.IsZero() }

// base is where a command works that names no mailbox, and what is new is looked for.
func (s *Session) base() *place {
	if s.box != nil {
		return s.box.at
	}
	return &s.home
}

// work goes to an account.
func (s *Session) work(p *place) {
	if p != s.at {
		s.closeView()
		s.at = p
	}
}

// foreign reports whether a name is for another account's mailbox, or for what is above
// those, and cuts it there.
func (s *Session) foreign(name string) (top, rest string, ok bool) {
	top, rest, _ = strings.Cut(name, mail.Separator)
	return top, rest, s.cfg.Others != nil && (top == otherUsers || top == sharedNames)
}

// keeps reports whether a mailbox at home has a name that is for others: one from before
// it was.
func (s *Session) keeps(ctx context.Context, name string) (bool, error) {
	s.work(&s.home)
	v, err := s.current(ctx)
	if err != nil {
		return false, err
	}
	info, err := v.Lookup(name)
	if errors.Is(err, mail.ErrNoMailbox) {
		return false, nil
	}
	return !info.NonExistent, err
}

// enter goes to the account that has a name, and gives the name as it is there.
// mail.ErrNoMailbox: no account can have it. Whether there is such a user is not told.
func (s *Session) enter(ctx context.Context, name string) (string, error) {
	top, rest, ok := s.foreign(name)
	if ok {
		own, err := s.keeps(ctx, name)
		if err != nil {
			return "", err
		}
		ok = !own
	}
	if !ok {
		s.work(&s.home)
		return name, nil
	}
	owner, local, err := s.namedOwner(ctx, rest)
	if err == nil {
		err = s.visit(ctx, owner, top)
	}
	if errors.Is(err, mail.ErrNoAccount) {
		err = mail.ErrNoMailbox
	}
	return local, err
}

// namedOwner is whose mailbox is named below otherUsers or sharedNames, and its name there.
// mail.ErrNoAccount, errAway.
func (s *Session) namedOwner(ctx context.Context, rest string) (owner mail.AccountID, local string, err error) {
	user, local, _ := strings.Cut(rest, mail.Separator)
	if user == "" || local == "" {
		return owner, "", mail.ErrNoAccount
	}
	if strings.EqualFold(local, mail.Inbox) {
		local = mail.Inbox
	}
	owner, err = s.cfg.Others.User(ctx, user)
	if err != nil && !errors.Is(err, mail.ErrNoAccount) {
		err = fmt.Errorf("%w: %w", errAway, err)
	}
	return owner, local, err
}

// visit goes to another user's account. mail.ErrNoAccount: there is none whose names are
// below top. An account whose mailbox is selected stays one place, by whatever name.
func (s *Session) visit(ctx context.Context, owner mail.AccountID, top string) error {
	name, shared, err := s.cfg.Others.Name(ctx, owner)
	if err != nil {
		return err
	}
	prefix := prefixOf(name, shared)
	if !strings.HasPrefix(prefix, top+mail.Separator) {
		return mail.ErrNoAccount
	}
	p := s.base()
	if p.owner != owner {
		if p, err = s.open(ctx, owner); err != nil {
			return err
		}
	}
	p.prefix = prefix
	s.work(p)
	return nil
}

// open makes the place that another user's account is. mail.ErrNoAccount, errAway.
func (s *Session) open(ctx context.Context, owner mail.AccountID) (*place, error) {
	name, shared, err := s.cfg.Others.Name(ctx, owner)
	if err != nil {
		return nil, err
	}
	account, err := s.cfg.Others.Open(ctx, owner)
	switch {
	case errors.Is(err, mail.ErrNoAccount):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %v", errAway, err) // whatever it was, it is none of the session
	}
	return &place{account: account, owner: owner, prefix: prefixOf(name, shared)}, nil
}

// lookup finds the mailbox that a client calls so, in the account that has it. It keeps
// the name by which the client knows it.
func (s *Session) lookup(ctx context.Context, name string) (mail.View, mail.MailboxInfo, error) {
	local, err := s.enter(ctx, name)
	if err != nil {
		return nil, mail.MailboxInfo{}, err
	}
	v, err := s.current(ctx)
	if err != nil {
		return nil, mail.MailboxInfo{}, err
	}
	if !s.at.away() {
		info, err := lookup(v, local)
		return v, info, err
	}
	info, err := v.Lookup(local)
	info.Name = name
	return v, info, err
}

// enterOld goes to the account that has a name, and gives the existing one that is meant.
func (s *Session) enterOld(ctx context.Context, name string) (string, error) {
	local, err := s.enter(ctx, name)
	if err != nil || s.at.away() {
		return local, err
	}
	return s.oldName(ctx, local)
}

// enterNew goes to the account in which a name is to be made, and gives it as it will be
// there.
func (s *Session) enterNew(ctx context.Context, name string) (string, error) {
	local, err := s.enter(ctx, realName(name))
	switch {
	case errors.Is(err, mail.ErrNoMailbox):
		return "", mail.ErrNoPerm
	case err != nil || s.at.away():
		return local, err
	}
	return s.newName(ctx, local)
}

// excuse is what an error of the account at hand is to the session. What ends a session
// whose own account it is of is a refusal if it is of an account that a command has
// named; that of the selected mailbox is awaited.
func (s *Session) excuse(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	return s.at.excuse(err, s.at == s.base())
}

func (p *place) excuse(err error, selected bool) error {
	if !p.away() {
		return err
	}
	gone := errors.Is(err, mail.ErrNoAccount)
	later := errors.Is(err, mail.ErrMoved) || errors.Is(err, mail.ErrBusy)
	switch {
	case gone && selected:
		return errGone
	case gone:
		return mail.ErrNoMailbox
	case later && selected:
		return fmt.Errorf("%w: %w: %v", errAway, mail.ErrBusy, err)
	case later:
		return fmt.Errorf("%w: %v", errAway, err)
	}
	return err
}

// sameHistory notes which history of another user's account this is, or holds it against
// the one that the client has seen. ErrNotResumable.
func (p *place) sameHistory(v mail.View) error {
	account, err := v.Account()
	if err != nil {
		return err
	}
	if p.found && account.Fork != p.fork {
		return fmt.Errorf("%w: mailbox was selected in history %d of its account, this is %d", ErrNotResumable, p.fork, account.Fork)
	}
	p.fork, p.found = account.Fork, true
	return nil
}
