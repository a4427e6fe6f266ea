package imapd

import (
	"context"
	"errors"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// maxArrived is how many octets of FETCH responses new messages have at one time, since
// they are part of the unit that tells of their arrival.
const maxArrived = maxHeld

// fetchArrivals tells what NOTIFY wants to know of messages that have arrived, from the
// UID given on (RFC 5465 5.2). Those that the client added itself it knows.
func (s *Session) fetchArrivals(ctx context.Context, info *mail.MailboxInfo, from mail.UID) error {
	arrived := s.box.uids.among(mail.UIDSet{{Lo: from, Hi: maxUID}}).Minus(s.mine)
	s.mine = nil
	if s.notify == nil || len(arrived) == 0 {
		return nil
	}
	g := s.notify.Selected()
	if g == nil || len(g.Items) == 0 {
		return nil
	}
	run := &fetchRun{Session: s, inline: maxHeld, keywords: info.Keywords}
	run.choose(&imapwire.Fetch{Items: g.Items}, true)
	start := len(s.out.buf)
	err := run.walk(ctx, s.box, arrived, func(w *row) error {
		if err := run.beside(ctx, w); err != nil {
			return err
		}
		if len(s.out.buf)-start > maxArrived {
			return errTooMuchArrived
		}
		return nil
	})
	if errors.Is(err, errTooMuchArrived) {
		s.out.buf = s.out.buf[:start]
		s.overflow()
		return nil
	}
	return err
}

var errTooMuchArrived = errors.New("too much has arrived to be fetched at once")

// beside writes the response for one message, or none if it cannot be read.
func (r *fetchRun) beside(ctx context.Context, w *row) error {
	c := r.contentOf(w)
	defer c.close()
	start := len(r.out.buf)
	err := r.plain(ctx, w, c)
	var literals []literal
	if err == nil {
		literals, err = r.open(ctx, c)
	}
	if err == nil {
		err = r.literals(ctx, w.flags.UID, literals, start)
	}
	if err != nil {
		r.out.buf = r.out.buf[:start]
		_, err = r.errorAnswer(err)
		return err
	}
	r.out.buf = append(r.out.buf, ")\r\n"...)
	return nil
}
