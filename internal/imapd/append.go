package imapd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

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
	var octets io.Reader = r
	if m.Literal.Binary {
		octets = noNUL{r}
	}
	body, err := s.account.Stage(ctx, octets, mail.MaxMessageSize)
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

// noNUL reads a literal8. Stored messages have no NUL, and one that is part of
// binary content must not become something else: RFC 3516 4.3 has UNKNOWN-CTE for
// a mailbox that does not hold such content.
type noNUL struct{ r io.Reader }

func (n noNUL) Read(p []byte) (int, error) {
	k, err := n.r.Read(p)
	if bytes.IndexByte(p[:k], 0) >= 0 {
		return 0, errUnknownCTE
	}
	return k, err
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
