package imapd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/message"
)

// appendMessages is APPEND, with several messages (RFC 3502) all or none, each a
// literal or put together by CATENATE (RFC 4469).
func (s *Session) appendMessages(ctx context.Context, _ *imapwire.Command, a *imapwire.Append) (answer, error) {
	res, err := s.add(ctx, a, nil)
	if err != nil {
		return answer{}, err
	}
	return okCode(appendUID(&res), "APPEND completed"), nil
}

// add adds messages, in the place of an old one if there is any.
func (s *Session) add(ctx context.Context, a *imapwire.Append, old *mail.Replaced) (mail.Result, error) {
	target, err := s.target(ctx, a.Mailbox)
	if err != nil {
		return mail.Result{}, err
	}
	to := s.at
	across := old != nil && to != s.box.at
	if across && s.resumed.number != s.number {
		if err := s.mayReplace(ctx, old); err != nil {
			return mail.Result{}, err
		}
	}
	s.closeView() // staging takes its time
	op := mail.Append{Mailbox: target.ID}
	if !across {
		op.Replaces = old
	}
	defer func() {
		for _, m := range op.Messages {
			_ = m.Body.Close() // what was committed is the account's
		}
	}()
	for i := range a.Messages {
		m, err := s.stage(ctx, to, &a.Messages[i])
		s.work(to)
		s.closeView()
		if err != nil {
			res, err := s.outcome(ctx, target.ID, err)
			return s.replaced(ctx, across, old, res, err)
		}
		op.Messages = append(op.Messages, m)
	}
	s.work(to)
	res, err := s.do(ctx, 0, op)
	return s.replaced(ctx, across, old, res, s.transferError(err))
}

// stage makes a message ready for an account. Its parts may come from others.
func (s *Session) stage(ctx context.Context, to *place, m *imapwire.AppendMessage) (mail.NewMessage, error) {
	parts := m.Parts
	if parts == nil {
		parts = []imapwire.CatPart{{Literal: m.Literal}}
	}
	var whole assembly
	defer whole.Close()
	err := s.assemble(ctx, &whole, parts)
	if err != nil {
		return mail.NewMessage{}, s.excuse(ctx, err)
	}
	var octets io.Reader = io.NewSectionReader(&whole, 0, whole.size)
	if whole.binary {
		if octets, err = s.binaryLiteral(&whole, whole.size); err != nil {
			return mail.NewMessage{}, err
		}
	}
	s.work(to)
	body, err := s.at.account.Stage(ctx, octets, mail.MaxMessageSize)
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

// binaryLiteral reads a literal8. Stored messages have no NUL, and one that is part of
// binary content must not become something else: such content is kept in base64
// (RFC 3516 4.4). Where that is not possible staging replaces it, as everywhere.
func (s *Session) binaryLiteral(r io.ReaderAt, size int64) (io.Reader, error) {
	octets, left, err := message.WithoutNUL(r, size)
	if err != nil {
		return nil, fmt.Errorf("read literal of %d octets: %w", size, err)
	}
	if left > 0 {
		s.log.Info("NUL octets of a message were replaced", "size", left)
	}
	return octets, nil
}

// target finds the mailbox that messages should go to. errNoTarget. For a command that
// may have been executed before there is always one: the account, which is asked next,
// knows what came of it, and refuses what it does not know.
func (s *Session) target(ctx context.Context, name string) (mail.MailboxInfo, error) {
	_, info, err := s.lookup(ctx, name)
	switch {
	case errors.Is(err, mail.ErrNoMailbox) && s.resumed.number == s.number:
		return mail.MailboxInfo{}, nil
	case errors.Is(err, mail.ErrNoMailbox):
		err = errNoTarget
	}
	return info, err
}
