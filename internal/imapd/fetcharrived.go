package imapd

import (
	"context"
	"errors"
	"slices"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// maxArrived is how many octets of FETCH responses new messages have at one time, since
// they are part of the unit that tells of their arrival.
const maxArrived = maxHeld

// wanted is what the client asked to be told of some messages when they arrive: with
// NOTIFY, or with the UPDATE of a search.
type wanted struct {
	uids  mail.UIDSet
	items []imapwire.FetchItem
	by    *searchContext // nil: NOTIFY
}

// fetchesArrivals reports whether anything is to be fetched of messages that arrive in the
// selected mailbox.
func (s *Session) fetchesArrivals() bool {
	return s.box != nil && (s.notify != nil || slices.ContainsFunc(s.contexts, func(x *searchContext) bool { return len(x.items) > 0 }))
}

// fetchArrivals tells what NOTIFY and searches, wants, want to know of messages that have
// arrived, from the UID given on: one response for each (RFC 5465 5.2), behind what tells
// that they are results, as erratum 4833 leaves open. Those that the client added itself
// it knows.
func (s *Session) fetchArrivals(ctx context.Context, info *mail.MailboxInfo, from mail.UID, wants []wanted) error {
	arrived := s.box.uids.among(mail.UIDSet{{Lo: from, Hi: maxUID}}).Minus(s.mine)
	s.mine = nil
	if s.notify != nil {
		if g := s.notify.Selected(); g != nil && len(g.Items) > 0 {
			wants = append(wants, wanted{uids: arrived, items: g.Items})
		}
	}
	var all mail.UIDSet
	for _, w := range wants {
		all = all.Union(intersect(w.uids, arrived))
	}
	if len(all) == 0 {
		return nil
	}
	run := &fetchRun{Session: s, inline: maxHeld, keywords: info.Keywords}
	start := len(s.out.buf)
	err := run.walk(ctx, s.box, all, func(w *row) error {
		run.chooseFor(wants, w.flags.UID)
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
		for _, w := range wants {
			if w.by == nil {
				s.overflow()
			} else {
				s.drop(w.by, "Too much has arrived to be fetched at once")
			}
		}
		return nil
	}
	return err
}

// chooseFor is choose for all that is wanted of one message.
func (r *fetchRun) chooseFor(wants []wanted, uid mail.UID) {
	var f imapwire.Fetch
	for _, w := range wants {
		if !w.uids.Contains(uid) {
			continue
		}
		for _, item := range w.items {
			item.Peek = true // what the same item without it has, and it marks nothing as seen
			f.Add(item)
		}
	}
	r.items, r.sections = nil, nil
	r.choose(&f, true)
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
