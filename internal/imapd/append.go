package imapd

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// appendMessages is APPEND, with several messages (RFC 3502) all or none.
func (s *Session) appendMessages(ctx context.Context, _ *imapwire.Command, a *imapwire.Append) (answer, error) {
	target, err := s.target(ctx, a.Mailbox)
	if err != nil {
		return answer{}, err
	}
	s.closeView() // staging takes its time
	op := mail.Append{Mailbox: target.ID}
	defer func() {
		for _, m := range op.Messages {
			_ = m.Body.Close() // what was committed is the account's
		}
	}()
	for i := range a.Messages {
		m, err := s.stage(ctx, &a.Messages[i])
		if err != nil {
			return answer{}, err
		}
		op.Messages = append(op.Messages, m)
	}
	res, err := s.do(ctx, 0, op)
	if err != nil {
		return answer{}, err
	}
	return okCode(fmt.Sprintf("APPENDUID %d %s", res.UIDValidity, res.UIDs), "APPEND completed"), nil
}

func (s *Session) stage(ctx context.Context, m *imapwire.AppendMessage) (mail.NewMessage, error) {
	r, err := m.Literal.Open()
	if err != nil {
		return mail.NewMessage{}, err
	}
	defer r.Close()
	body, err := s.account.Stage(ctx, r, mail.MaxMessageSize)
	if err != nil {
		return mail.NewMessage{}, err
	}
	at := m.Date
	if at.IsZero() {
		at = s.cfg.Now()
	}
	return mail.NewMessage{
		Body: body, Flags: m.Flags.System, Keywords: m.Flags.Keywords, InternalDate: mail.InstantOf(at),
	}, nil
}

// target finds the mailbox that messages should go to. errNoTarget.
func (s *Session) target(ctx context.Context, name string) (mail.MailboxInfo, error) {
	v, err := s.current(ctx)
	if err != nil {
		return mail.MailboxInfo{}, err
	}
	info, err := lookup(v, name)
	if errors.Is(err, mail.ErrNoMailbox) {
		err = errNoTarget
	}
	return info, err
}
