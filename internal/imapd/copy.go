package imapd

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// copyMessages is COPY and UID COPY.
func (s *Session) copyMessages(ctx context.Context, c *imapwire.Command, a *imapwire.Copy) (answer, error) {
	uids, target, err := s.transfer(ctx, c, a)
	if err != nil {
		return answer{}, err
	}
	if len(uids) == 0 {
		return ok("COPY completed, there was nothing to copy"), nil
	}
	if s.at != s.box.at {
		return s.copyAway(ctx, uids, target)
	}
	res, err := s.do(ctx, 0, mail.Copy{From: s.box.id, UIDs: uids, To: target})
	if err != nil {
		return answer{}, s.transferError(err)
	}
	return okCode(copyUID(&res), "COPY completed"), nil
}

// moveMessages is MOVE and UID MOVE (RFC 6851). The EXPUNGE responses are those
// that sync writes, after all COPYUIDs.
func (s *Session) moveMessages(ctx context.Context, c *imapwire.Command, a *imapwire.Copy) (answer, error) {
	uids, target, err := s.transfer(ctx, c, a)
	if err != nil {
		return answer{}, err
	}
	if s.at != s.box.at {
		return s.moveAway(ctx, uids, target)
	}
	ans := ok("MOVE completed")
	for i, part := range split(uids, mail.MaxTouched) {
		res, err := s.do(ctx, i, mail.Move{From: s.box.id, UIDs: part, To: target})
		if err != nil {
			return answer{}, s.transferError(err)
		}
		if code := copyUID(&res); code != "" {
			s.out.status(code, "Moved")
			ans.highest = true
		}
	}
	return ans, nil
}

// transfer finds out what COPY or MOVE names, and goes to the target's account.
func (s *Session) transfer(ctx context.Context, c *imapwire.Command, a *imapwire.Copy) (mail.UIDSet, mail.MailboxID, error) {
	uids, err := s.resolve(a.Set, c.UID)
	if err != nil {
		return nil, mail.MailboxID{}, err
	}
	if uids.Len() > mail.MaxCopy {
		return nil, mail.MailboxID{}, fmt.Errorf("copy %d messages: %w", uids.Len(), mail.ErrLimit)
	}
	target, err := s.target(ctx, a.Mailbox)
	return uids, target.ID, err
}

// transferError tells a target that has just gone from a source that has: the
// source is what sync will find missing.
func (s *Session) transferError(err error) error {
	if errors.Is(err, mail.ErrNoMailbox) {
		return errNoTarget
	}
	return err
}

// copyUID is the COPYUID code (RFC 4315), "" if nothing was copied.
func copyUID(res *mail.Result) string {
	if len(res.UIDs) == 0 {
		return ""
	}
	return fmt.Sprintf("COPYUID %d %s %s", res.UIDValidity, res.Source, res.UIDs)
}
