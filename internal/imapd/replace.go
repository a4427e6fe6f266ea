package imapd

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// replace is REPLACE and UID REPLACE (RFC 8508): one operation adds the new message
// and removes the old one. APPENDUID comes before the EXPUNGE that sync writes.
func (s *Session) replace(ctx context.Context, c *imapwire.Command, a *imapwire.Replace) (answer, error) {
	uids, err := s.resolve(a.Set, c.UID)
	if err != nil {
		return answer{}, err
	}
	if len(uids) == 0 {
		return no(imapwire.CodeNonExistent, "No such message"), nil
	}
	old := &mail.Replaced{Mailbox: s.box.id, UID: uids[0].Lo}
	res, err := s.add(ctx, &a.Append, old)
	if err != nil {
		return answer{}, err
	}
	s.out.status(appendUID(&res), "Replacement is there")
	ans := ok("REPLACE completed")
	ans.highest = true
	return ans, nil
}

// remembered asks for the outcome of the running command, if it is one that may have
// been executed before: what it was made of may have gone since. ok is false if the
// account knows nothing of it; then it is not executed any more.
func (s *Session) remembered(ctx context.Context, target mail.MailboxID) (res mail.Result, ok bool, err error) {
	if s.resumed.number != s.number {
		return res, false, nil
	}
	res, err = s.do(ctx, 0, mail.Expunge{Mailbox: target}) // of no message
	return res, err == nil && len(res.UIDs) > 0, err
}

// outcome is what becomes of an Append whose messages could not be made ready.
func (s *Session) outcome(ctx context.Context, target mail.MailboxID, why error) (mail.Result, error) {
	var lost *urlError
	if !errors.As(why, &lost) {
		return mail.Result{}, why
	}
	res, known, err := s.remembered(ctx, target)
	if err == nil && !known {
		err = why
	}
	return res, err
}

func appendUID(res *mail.Result) string {
	return fmt.Sprintf("APPENDUID %d %s", res.UIDValidity, res.UIDs)
}
