package imapd

import (
	"context"
	"slices"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// status is STATUS. Asking for HIGHESTMODSEQ enables CONDSTORE (RFC 7162 3.1).
func (s *Session) status(ctx context.Context, _ *imapwire.Command, a *imapwire.Status) (answer, error) {
	v, info, err := s.lookup(ctx, a.Mailbox)
	if err != nil {
		return answer{}, err
	}
	if err := need(&info, mail.MayRead); err != nil {
		return answer{}, err
	}
	if slices.Contains(a.Items, imapwire.StatusHighestModSeq) {
		s.enableCondStore()
	}
	return ok("STATUS completed"), s.statusLine(v, &info, a.Items)
}

// statusLine writes a STATUS response.
func (s *Session) statusLine(v mail.View, info *mail.MailboxInfo, items []imapwire.StatusItem) error {
	var err error
	recent, deleted := 0, int64(0)
	if slices.Contains(items, imapwire.StatusRecent) {
		if recent, err = s.recentIn(v, info.ID); err != nil {
			return err
		}
	}
	if slices.Contains(items, imapwire.StatusDeletedSize) {
		if deleted, err = deletedStorage(v, info); err != nil {
			return err
		}
	}
	b := append(s.out.buf, "* STATUS "...)
	b = append(s.appendName(b, info.Name), " ("...)
	for i, item := range items {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, item...)
		b = append(b, ' ')
		switch item {
		case imapwire.StatusRecent:
			b = imapwire.AppendNumber(b, recent)
		case imapwire.StatusDeletedSize:
			b = imapwire.AppendNumber(b, deleted)
		default:
			b = appendStatus(b, info, item)
		}
	}
	s.out.buf = append(b, ")\r\n"...)
	return nil
}

func appendStatus(b []byte, info *mail.MailboxInfo, item imapwire.StatusItem) []byte {
	switch item {
	case imapwire.StatusMessages:
		return imapwire.AppendNumber(b, info.Messages)
	case imapwire.StatusUIDNext:
		return imapwire.AppendNumber(b, info.UIDNext)
	case imapwire.StatusUIDValidity:
		return imapwire.AppendNumber(b, info.UIDValidity)
	case imapwire.StatusUnseen:
		return imapwire.AppendNumber(b, info.Unseen)
	case imapwire.StatusDeleted:
		return imapwire.AppendNumber(b, info.Deleted)
	case imapwire.StatusSize:
		return imapwire.AppendNumber(b, info.Size)
	case imapwire.StatusHighestModSeq:
		return imapwire.AppendNumber(b, info.HighestModSeq)
	case imapwire.StatusMailboxID:
		b = append(append(b, '('), info.ID.String()...)
		return append(b, ')')
	case imapwire.StatusAppendLimit:
		return imapwire.AppendNumber(b, mail.MaxMessageSize)
	}
	return append(b, '0')
}
