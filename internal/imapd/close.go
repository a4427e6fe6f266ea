package imapd

import (
	"context"
	"errors"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// closeMailbox is CLOSE: it removes what is marked \Deleted, unless the mailbox is
// read-only, and tells nothing of it.
func (s *Session) closeMailbox(ctx context.Context, _ *imapwire.Command) (answer, error) {
	ans := ok("CLOSE completed")
	if !s.box.readOnly() && s.box.rights.Has(mail.MayExpunge) { // else it only closes (RFC 4314 4)
		var err error
		if ans.code, err = s.closeAndRemove(ctx); err != nil {
			return answer{}, err
		}
	}
	s.deselect()
	return ans, nil
}

// closeAndRemove removes what CLOSE does. With QRESYNC the client is told the new
// HIGHESTMODSEQ (RFC 7162 3.2.8), if nothing that it was not told of is below it:
// its own removals are then the only changes since what it knows.
func (s *Session) closeAndRemove(ctx context.Context) (code string, err error) {
	v, err := s.current(ctx)
	if err != nil {
		return "", err
	}
	account, err := v.Account()
	if err != nil {
		return "", err
	}
	info, err := s.selected(v)
	if err != nil {
		return "", err
	}
	told := info.HighestModSeq <= s.box.told.Flags
	for _, err := range v.Expunged(s.box.id, s.box.told.Expunged.ModSeq) {
		if err != nil && !errors.Is(err, mail.ErrBelowFloor) {
			return "", err
		}
		told = false
		break
	}
	at := account.ModSeq
	removed, err := s.removeDeleted(ctx, everything)
	if err != nil || !told || len(removed) == 0 || !s.qresync() {
		return "", err
	}
	for _, m := range removed {
		if at++; m != at {
			return "", nil
		}
	}
	return highestCode(at), nil
}

// unselect is UNSELECT (RFC 3691).
func (s *Session) unselect(context.Context, *imapwire.Command) (answer, error) {
	s.deselect()
	return ok("UNSELECT completed"), nil
}
