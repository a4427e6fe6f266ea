package imapd

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// quotaRoot is the name of an account's only quota root: all its mailboxes are in it.
const quotaRoot = ""

// Refusals of quota commands.
var (
	errNoRoot     = errors.New("no such quota root")
	errNoResource = errors.New("no such resource")
	errNotAllowed = errors.New("not allowed")
)

// getQuota is GETQUOTA (RFC 9208 4.1.1).
func (s *Session) getQuota(ctx context.Context, _ *imapwire.Command, a *imapwire.GetQuota) (answer, error) {
	if a.Root != quotaRoot {
		return answer{}, errNoRoot
	}
	return ok("GETQUOTA completed"), s.quotaLine(ctx)
}

// getQuotaRoot is GETQUOTAROOT (RFC 9208 4.1.2). Names of mailboxes that do not exist
// have a root as well: it is where they would be created.
func (s *Session) getQuotaRoot(ctx context.Context, _ *imapwire.Command, a *imapwire.GetQuotaRoot) (answer, error) {
	b := append(s.out.buf, "* QUOTAROOT "...)
	_, _, foreign := s.foreign(a.Mailbox)
	if foreign {
		own, err := s.keeps(ctx, a.Mailbox)
		if err != nil {
			return answer{}, err
		}
		foreign = !own
	}
	if foreign { // whose quota is their owner's business
		s.out.buf = append(s.appendName(b, a.Mailbox), "\r\n"...)
		return ok("GETQUOTAROOT completed"), nil
	}
	s.out.buf = append(s.appendName(b, a.Mailbox), " \"\"\r\n"...)
	return ok("GETQUOTAROOT completed"), s.quotaLine(ctx)
}

// setQuota is SETQUOTA (RFC 9208 4.1.3), for who has come in for the user with a
// password of their own. A resource that is not named has no limit any more.
func (s *Session) setQuota(ctx context.Context, _ *imapwire.Command, a *imapwire.SetQuota) (answer, error) {
	switch {
	case a.Root != quotaRoot:
		return answer{}, errNoRoot
	case s.cfg.By == "":
		return answer{}, errNotAllowed
	}
	s.work(&s.home)
	var op mail.SetQuota
	for _, q := range a.Limits {
		switch q.Resource {
		case imapwire.ResourceStorage:
			if q.Limit > 1<<52 {
				return answer{}, fmt.Errorf("%d units of storage: %w", q.Limit, mail.ErrLimit)
			}
			op.LimitOctets = q.Limit << 10
		case imapwire.ResourceMessage:
			op.LimitMessages = q.Limit
		default:
			return answer{}, fmt.Errorf("%q: %w", q.Resource, errNoResource)
		}
	}
	if _, err := s.do(ctx, 0, op); err != nil {
		return answer{}, err
	}
	return ok("SETQUOTA completed"), s.quotaLine(ctx)
}

// quotaLine writes a QUOTA response: the resources that have a limit.
func (s *Session) quotaLine(ctx context.Context) error {
	s.work(&s.home)
	v, err := s.current(ctx)
	if err != nil {
		return err
	}
	info, err := v.Account()
	if err != nil {
		return err
	}
	q := info.Quota
	b := append(s.out.buf, "* QUOTA \"\" ("...)
	if q.LimitOctets > 0 {
		// What is used is rounded up, so that all of it used looks like that.
		b = appendResource(b, imapwire.ResourceStorage, (q.UsedOctets+1023)>>10, (q.LimitOctets+1023)>>10)
	}
	if q.LimitMessages > 0 {
		if q.LimitOctets > 0 {
			b = append(b, ' ')
		}
		b = appendResource(b, imapwire.ResourceMessage, q.UsedMessages, q.LimitMessages)
	}
	s.out.buf = append(b, ")\r\n"...)
	return nil
}

func appendResource(b []byte, name string, used, limit int64) []byte {
	b = append(append(b, name...), ' ')
	b = append(strconv.AppendInt(b, used, 10), ' ')
	return strconv.AppendInt(b, limit, 10)
}

// deletedStorage is the octets of a mailbox's messages that are marked \Deleted (STATUS
// DELETED-STORAGE). Its cost grows with those.
func deletedStorage(v mail.View, info *mail.MailboxInfo) (octets int64, err error) {
	if info.Deleted == 0 {
		return 0, nil
	}
	for f, err := range v.Flags(info.ID, 1, info.UIDNext-1, 0) {
		if err != nil {
			return 0, err
		}
		if f.Flags&mail.Deleted == 0 {
			continue
		}
		m, err := v.Message(info.ID, f.UID)
		if err != nil {
			return 0, err
		}
		octets += m.Size
	}
	return octets, nil
}
