package imapd

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// ErrNotResumable: the session cannot be continued truthfully here.
var ErrNotResumable = session.ErrNotResumable

// Resume brings a new session into the state that a token describes, before its
// first command, and announces nothing: that command finds the picture which the
// client has, and what is new is told at its end. ErrNotResumable; other errors as
// of Execute.
func (s *Session) Resume(ctx context.Context, t *session.Token) error {
	s.at = &s.home
	defer s.closeView()
	switch {
	case t.Enabled&^knownFeatures() != 0:
		return fmt.Errorf("%w: it enabled what this server does not know", ErrNotResumable)
	}
	v, err := s.current(ctx)
	if err != nil {
		return err
	}
	account, err := v.Account()
	if err != nil {
		return err
	}
	if account.Fork != t.Fork {
		return fmt.Errorf("%w: it began in history %d of the account, this is %d", ErrNotResumable, t.Fork, account.Fork)
	}
	if t.Selected != nil {
		if err := s.reselect(ctx, t.Selected); err != nil {
			return s.at.excuse(err, true)
		}
	}
	if s.contexts, err = recall(t.Contexts); err != nil {
		return err
	}
	if s.notify, err = recallNotify(t.Notify); err != nil {
		return err
	}
	if t.NotifySeq > account.ModSeq {
		return fmt.Errorf("%w: it knows what has not happened here", ErrNotResumable)
	}
	s.notified, s.told = t.NotifySeq, t.Followed
	s.enabled, s.saved = t.Enabled, t.Saved
	s.resumed = resumed{number: t.LastCommand + 1, fetch: t.Fetch}
	return nil
}

// reselect makes the picture of the selected mailbox anew.
func (s *Session) reselect(ctx context.Context, t *session.Selected) error {
	if !t.Owner.IsZero() {
		if s.cfg.Others == nil {
			return fmt.Errorf("%w: its mailbox is another user's", ErrNotResumable)
		}
		p, err := s.open(ctx, t.Owner)
		switch {
		case errors.Is(err, mail.ErrNoAccount):
			return errGone
		case err != nil:
			return fmt.Errorf("%w: %w", mail.ErrBusy, err)
		}
		p.fork, p.found = t.Fork, true
		s.work(p)
	}
	v, err := s.current(ctx)
	if err != nil {
		return err
	}
	b, err := remember(v, t)
	if err != nil {
		return err
	}
	s.cfg.Pictures.share(b.id, &b.uids)
	b.at, s.box = s.at, b
	return nil
}

// resumed is what the client has of the answer to the first command after Resume.
type resumed struct {
	number uint64
	fetch  session.Progress
}

func knownFeatures() (all session.Features) {
	for _, f := range features {
		all |= f
	}
	return all
}

// remember is the picture that a client has who was told so much. errGone,
// ErrNotResumable.
func remember(v mail.View, t *session.Selected) (*box, error) {
	info, err := v.Mailbox(t.Mailbox)
	switch {
	case errors.Is(err, mail.ErrNoMailbox):
		return nil, errGone
	case err != nil:
		return nil, err
	case !info.Rights.Has(mail.MayRead):
		return nil, errGone
	case info.UIDValidity != t.UIDValidity:
		return nil, fmt.Errorf("%w: UIDVALIDITY was %d and is %d", ErrNotResumable, t.UIDValidity, info.UIDValidity)
	case t.UIDNext > info.UIDNext, max(t.Expunged.ModSeq, t.Flags) > info.HighestModSeq, int(t.Keywords) > len(info.Keywords):
		return nil, fmt.Errorf("%w: it knows what has not happened here", ErrNotResumable)
	case t.Expunged.UID != 0:
		return nil, fmt.Errorf("%w: it was told of a part of an expunge", ErrNotResumable)
	}
	b := &box{id: info.ID, uidValidity: info.UIDValidity, examined: t.ReadOnly, rights: info.Rights, unsure: info.UIDNext}
	uids, err := inView(v, b.id, 1, t.UIDNext, t.Expunged.ModSeq)
	if errors.Is(err, mail.ErrBelowFloor) {
		err = fmt.Errorf("%w: %w", ErrNotResumable, err)
	}
	if err != nil {
		return nil, err
	}
	if n := uids.Len(); n == int(t.Count) {
		for u := range uids.All() {
			b.arrive(u)
		}
	}
	if b.uids.len() != int(t.Count) || b.told.Sum != t.Sum {
		return nil, fmt.Errorf("%w: the client has %d messages in view, here they would be %d or others",
			ErrNotResumable, t.Count, uids.Len())
	}
	b.told = t.Announced
	return b, nil
}

// inView is the messages from UID lo up to but not next that a client has in view
// who was told of these UIDs and of all expunges up to the cut: those that are
// there, and those that went after it. ErrBelowFloor.
func inView(v mail.View, id mail.MailboxID, lo, next mail.UID, cut mail.ModSeq) (mail.UIDSet, error) {
	if lo >= next {
		return nil, nil
	}
	var live mail.UIDSet
	for f, err := range v.Flags(id, lo, next-1, 0) {
		if err != nil {
			return nil, err
		}
		live = live.Add(f.UID)
	}
	all := live
	for t, err := range v.Expunged(id, cut) {
		if err != nil {
			return live, err
		}
		all = append(all[:len(all):len(all)], intersect(t.UIDs, mail.UIDSet{{Lo: lo, Hi: next - 1}})...)
	}
	return mail.NewUIDSet(all...), nil
}
